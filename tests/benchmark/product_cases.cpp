// The matrix products of a training step of the benchmark's model: forward, and backward for inputs and weights.
#include "kernels/make_kernels.h"
#include "tests/benchmark/cases.h"
#include "tests/benchmark/tensors.h"

namespace ropewalk::benchmark {
namespace {

struct Operands {
  Operands(int64_t N, int64_t I, int64_t O)
      : kernels(make_kernels(BackendKind::kCpu)),
        x(*kernels, {N, I}, 1),
        w(*kernels, {O, I}, 2),
        y(*kernels, {N, O}, 3),
        dx(*kernels, {N, I}, 0),
        dw(*kernels, {O, I}, 0) {}
  std::unique_ptr<Kernels> kernels;
  Filled x, w, y, dx, dw;
};

}  // namespace

std::vector<Entry> product_cases() {
  std::vector<Entry> entries;
  for (const int64_t N : {512, 2048})
    for (const auto& [I, O] :
         {std::pair<int64_t, int64_t>{768, 768}, {768, 256}, {768, 2048}, {2048, 768}, {768, 32768}}) {
      if (N == 2048 && O == 32768) continue;  // the loss processes the rows in chunks
      for (const std::string pass : {"forward", "backward input", "backward weight"}) {
        const std::string name = fmt::format("product {} {}x{}->{}", pass, N, I, O);
        entries.push_back(
            {name, "fma", [=, I = I, O = O] {
               auto s = std::make_shared<Operands>(N, I, O);
               std::function<void()> run;
               if (pass == "forward")
                 run = [s] { s->kernels->linear_forward(s->x.tensor, s->w.tensor, s->y.tensor, Write::kSet); };
               else if (pass == "backward input")
                 run = [s] { s->kernels->linear_backward_input(s->y.tensor, s->w.tensor, s->dx.tensor, Write::kSet); };
               else
                 run = [s] { s->kernels->linear_backward_weight(s->y.tensor, s->x.tensor, s->dw.tensor, Write::kAdd); };
               return Case{name, 2.0 * static_cast<double>(N * I * O), run};
             }});
      }
    }
  return entries;
}

}  // namespace ropewalk::benchmark
