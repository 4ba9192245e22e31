// The matrix products of a training step of the benchmark's model: forward, and backward for inputs and weights.
#include "kernels/make_kernels.h"
#include "tests/benchmark/cases.h"
#include "tests/benchmark/tensors.h"

namespace ropewalk::benchmark {
namespace {

struct Operands {
  Operands(BackendKind backend, int64_t N, int64_t I, int64_t O)
      : kernels(make_kernels(backend)),
        x(*kernels, {N, I}, 1, 1, kernels->dtype()),
        w(*kernels, {O, I}, 2, 1, kernels->dtype()),
        y(*kernels, {N, O}, 3, 1, kernels->dtype()),
        dx(*kernels, {N, I}, 0, 1, kernels->dtype()),
        dw(*kernels, {O, I}, 0) {}
  std::unique_ptr<Kernels> kernels;
  Filled x, w, y, dx, dw;
};

}  // namespace

std::vector<Entry> product_cases() {
  std::vector<Entry> entries;
  for (const BackendKind backend : kPrecisions)
    for (const int64_t N : {512, 2048})
      for (const auto& [I, O] :
           {std::pair<int64_t, int64_t>{768, 768}, {768, 256}, {768, 2048}, {2048, 768}, {768, 32768}}) {
        if (N == 2048 && O == 32768) continue;  // the loss processes the rows in chunks
        for (const std::string pass : {"forward", "backward input", "backward weight"}) {
          const std::string name = fmt::format("{}product {} {}x{}->{}", prefix_of(backend), pass, N, I, O);
          entries.push_back(
              {name, yardstick_of(backend), [=, I = I, O = O] {
                 auto s = std::make_shared<Operands>(backend, N, I, O);
                 std::function<void()> run;
                 if (pass == "forward")
                   run = [s] { s->kernels->linear_forward(s->x.tensor, s->w.tensor, s->y.tensor, Write::kSet); };
                 else if (pass == "backward input")
                   run = [s] {
                     s->kernels->linear_backward_input(s->y.tensor, s->w.tensor, s->dx.tensor, Write::kSet);
                   };
                 else
                   run = [s] {
                     s->kernels->linear_backward_weight(s->y.tensor, s->x.tensor, s->dw.tensor, Write::kAdd);
                   };
                 return Case{name, 2.0 * static_cast<double>(N * I * O), run};
               }});
        }
      }
  return entries;
}

}  // namespace ropewalk::benchmark
