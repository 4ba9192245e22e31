// Memory-bound operations. Bytes: every tensor counts once if it must be read and once if it must be written.
// Write-allocate reads do not count, because they are avoidable. The yardsticks count in the same way: "copy" for
// operations with separate outputs, "update" for operations in place.
#include "kernels/make_kernels.h"
#include "tests/benchmark/cases.h"
#include "tests/benchmark/tensors.h"

namespace ropewalk::benchmark {
namespace {

constexpr int64_t kRows = 16384, kWidth = 768, kHidden = 2048, kWords = 32768;

struct Kit {
  std::unique_ptr<Kernels> kernels = make_kernels(BackendKind::kCpu);
  std::vector<Filled> tensors;

  const Tensor& operator[](size_t i) const { return tensors[i].tensor; }
  void add(Shape shape, uint64_t seed, double scale = 1) { tensors.emplace_back(*kernels, shape, seed, scale); }
};

// A case with `tensors` tensors of this shape; traffic: bytes read and written, in units of one such tensor.
Entry entry(const std::string& name, const std::string& yardstick, Shape shape, int tensors, double traffic,
            const std::function<void(Kit&)>& more, const std::function<void(Kit&)>& run) {
  return {name, yardstick, [=] {
            auto kit = std::make_shared<Kit>();
            for (int i = 0; i < tensors; ++i) kit->add(shape, static_cast<uint64_t>(i) + 1);
            if (more) more(*kit);
            return Case{name, traffic * 4.0 * static_cast<double>(shape.elements()), [kit, run] { run(*kit); }};
          }};
}

}  // namespace

std::vector<Entry> memory_cases() {
  const Shape rows{kRows, kWidth}, hidden{kRows / 2, kHidden};
  std::vector<Entry> entries;
  entries.push_back(entry("add", "copy", rows, 3, 3, nullptr, [](Kit& t) { t.kernels->add(t[0], t[1], t[2]); }));
  const auto statistics = [](Kit& t) {
    t.add({1, kWidth}, 9);
    t.add({kRows}, 0);
    t.add({kRows}, 0);
  };
  entries.push_back(entry("layer norm forward", "copy", rows, 2, 2, statistics,
                          [](Kit& t) { t.kernels->layer_norm_forward(t[0], t[2], 1e-5, t[1], t[3], t[4]); }));
  entries.push_back(entry(
      "layer norm backward", "copy", rows, 4, 4,
      [statistics](Kit& t) {
        statistics(t);
        t.add({1, kWidth}, 0);
        t.kernels->layer_norm_forward(t[0], t[4], 1e-5, t[1], t[5], t[6]);
      },
      [](Kit& t) {  // dy, x, through -> dx
        t.kernels->layer_norm_backward(t[1], t[0], t[4], t[5], t[6], t[2], t[3], t[7], Write::kAdd);
      }));
  entries.push_back(entry("rotation", "update", {kRows, 12, 64}, 1, 2, nullptr,
                          [](Kit& t) { t.kernels->rotate(t[0], 0, 50000, Rotation::kForward); }));
  entries.push_back(entry("SwiGLU forward", "copy", hidden, 3, 3, nullptr,
                          [](Kit& t) { t.kernels->swiglu_forward(t[0], t[1], t[2]); }));
  entries.push_back(entry("SwiGLU backward", "update", hidden, 3, 5, nullptr,
                          [](Kit& t) { t.kernels->swiglu_backward(t[0], t[1], t[2], t[1], t[2]); }));
  const auto tokens = [](Kit& t) {
    auto* token = static_cast<int32_t*>(t.tensors[1].buffer->data());
    const RandomStream stream(1, "tokens");
    for (int64_t n = 0; n < kRows; ++n)
      token[n] = static_cast<int32_t>(stream.uniform(static_cast<uint64_t>(n)) * kWords);
  };
  const auto with_table = [tokens](Kit& t) {
    t.add({kRows}, 0);
    t.add({kWords, kWidth}, 5);
    tokens(t);
  };
  const auto token_tensor = [](const Kit& t) {
    return Tensor(t.tensors[1].buffer->data(), DType::kI32, t.kernels->device(), {kRows});
  };
  entries.push_back(entry("rows from random places", "copy", rows, 1, 2, with_table,
                          [token_tensor](Kit& t) { copy_rows(token_tensor(t), t[2], t[0]); }));
  entries.push_back(entry("embedding forward", "copy", rows, 1, 2, with_table,
                          [token_tensor](Kit& t) { t.kernels->embedding_forward(token_tensor(t), t[2], 0, t[0]); }));
  entries.push_back(entry("embedding backward", "update", rows, 1, 3, with_table,
                          [token_tensor](Kit& t) { t.kernels->embedding_backward(token_tensor(t), t[0], 0, t[2]); }));
  entries.push_back(entry(
      "AdamW", "update", {32 << 20}, 4, 7, [](Kit& t) { t.kernels->fill(t[3], 1e-4); },
      [](Kit& t) {
        t.kernels->adamw(t[0], t[1], t[2], t[3], Tensor(), {1e-4, 0.9, 0.95, 1e-8, 0.1, 10, 1.0});
      }));
  entries.push_back(
      entry("sum of squares", "copy", {32 << 20}, 1, 1, nullptr, [](Kit& t) { t.kernels->sum_of_squares(t[0]); }));
  return entries;
}

}  // namespace ropewalk::benchmark
