// Memory-bound operations. Bytes: every tensor counts once if it must be read and once if it must be written.
// Write-allocate reads do not count, because they are avoidable. The yardsticks count in the same way: "copy" for
// operations with separate outputs, "update" for operations in place. Each case runs in fp32 and in mixed precision.
#include "kernels/make_kernels.h"
#include "tests/benchmark/cases.h"
#include "tests/benchmark/tensors.h"

namespace ropewalk::benchmark {
namespace {

constexpr int64_t kWidth = 768, kHidden = 2048;
// In bf16 tensors have twice as many rows, so that they are as far beyond the caches.
int64_t rows_of(BackendKind kind) { return 65536 / size_of(compute_type(kind)); }
int64_t words_of(BackendKind kind) { return 2 * rows_of(kind); }

struct Kit {
  explicit Kit(BackendKind kind) : kernels(make_kernels(kind)) {}
  std::unique_ptr<Kernels> kernels;
  std::vector<Filled> tensors;

  const Tensor& operator[](size_t i) const { return tensors[i].tensor; }
  bool mixed() const { return kernels->dtype() == DType::kBF16; }
  void add(Shape shape, uint64_t seed) { tensors.emplace_back(*kernels, shape, seed, 1.0, kernels->dtype()); }
  void add_wide(Shape shape, uint64_t seed) { tensors.emplace_back(*kernels, shape, seed); }  // fp32
};

// What is read and written, in tensors of the case's shape: of the compute type, and of fp32.
struct Traffic {
  double compute, wide = 0;
};

// A case with `tensors` tensors of this shape.
using Prepare = std::function<void(Kit&)>;
Entry entry(BackendKind kind, const std::string& name, const std::string& yardstick, Shape shape, int tensors,
            Traffic traffic, const Prepare& more, const Prepare& run, const Prepare& before = nullptr) {
  const std::string full_name = prefix_of(kind) + name;
  return {full_name, yardstick, [=] {
            auto kit = std::make_shared<Kit>(kind);
            for (int i = 0; i < tensors; ++i) kit->add(shape, static_cast<uint64_t>(i) + 1);
            if (more) more(*kit);
            const double each = static_cast<double>(size_of(kit->kernels->dtype()));
            const double bytes = (traffic.compute * each + traffic.wide * 4) * static_cast<double>(shape.elements());
            return Case{full_name, bytes, [kit, run] { run(*kit); },
                        [kit, before] {
                          if (before) before(*kit);
                        }};
          }};
}

void add_row_cases(BackendKind kind, std::vector<Entry>& entries) {
  const int64_t N = rows_of(kind);
  const Shape rows{N, kWidth}, hidden{N / 2, kHidden};
  const auto add = [&](auto&&... arguments) { entries.push_back(entry(kind, arguments...)); };
  add("add", "copy", rows, 3, Traffic{3}, nullptr, [](Kit& t) { t.kernels->add(t[0], t[1], t[2]); });
  const auto statistics = [N](Kit& t) {
    t.add({1, kWidth}, 9);
    t.add_wide({N}, 0);
    t.add_wide({N}, 0);
  };
  add("layer norm forward", "copy", rows, 2, Traffic{2}, statistics,
      [](Kit& t) { t.kernels->layer_norm_forward(t[0], t[2], 1e-5, t[1], t[3], t[4]); });
  add(
      "layer norm backward", "copy", rows, 4, Traffic{4},
      [statistics](Kit& t) {
        statistics(t);
        t.add_wide({1, kWidth}, 0);
        t.kernels->layer_norm_forward(t[0], t[4], 1e-5, t[1], t[5], t[6]);
      },
      [](Kit& t) {  // dy, x, through -> dx
        t.kernels->layer_norm_backward(t[1], t[0], t[4], t[5], t[6], t[2], t[3], t[7], Write::kAdd);
      });
  add("rotation", "update", Shape{N, 12, 64}, 1, Traffic{2}, nullptr,
      [](Kit& t) { t.kernels->rotate(t[0], 0, 50000, Rotation::kForward); });
  add("SwiGLU forward", "copy", hidden, 3, Traffic{3}, nullptr,
      [](Kit& t) { t.kernels->swiglu_forward(t[0], t[1], t[2]); });
  // In place, and so from the same numbers each time: gradients of gradients would soon be subnormal.
  add(
      "SwiGLU backward", "update", hidden, 5, Traffic{5}, nullptr,
      [](Kit& t) { t.kernels->swiglu_backward(t[0], t[1], t[2], t[1], t[2]); },
      [](Kit& t) {
        t.kernels->copy(t[3], t[1]);
        t.kernels->copy(t[4], t[2]);
      });
}

void add_embedding_cases(BackendKind kind, std::vector<Entry>& entries) {
  const int64_t N = rows_of(kind), V = words_of(kind);
  const Shape rows{N, kWidth};
  const auto add = [&](auto&&... arguments) { entries.push_back(entry(kind, arguments...)); };
  const auto with_tokens = [N, V](Kit& t) {
    t.add_wide({N}, 0);
    auto* token = static_cast<int32_t*>(t.tensors.back().buffer->data());
    const RandomStream stream(1, "tokens");
    for (int64_t n = 0; n < N; ++n)
      token[n] = static_cast<int32_t>(stream.uniform(static_cast<uint64_t>(n)) * static_cast<double>(V));
  };
  const auto tokens = [N](const Kit& t) {
    return Tensor(t.tensors[1].buffer->data(), DType::kI32, t.kernels->device(), {N});
  };
  const auto with_table = [with_tokens, V](Kit& t) {
    with_tokens(t);
    t.add({V, kWidth}, 5);
  };
  const auto with_gradient = [with_tokens, V](Kit& t) {
    with_tokens(t);
    t.add_wide({V, kWidth}, 5);
  };
  add("rows from random places", "copy", rows, 1, Traffic{2}, with_table, [tokens](Kit& t) {
    const auto as_floats = [](const Tensor& x) {
      return Tensor(x.raw(), DType::kF32, x.device(), {x.rows(), x.bytes() / x.rows() / 4});
    };
    copy_rows(tokens(t), as_floats(t[2]), as_floats(t[0]));
  });
  add("embedding forward", "copy", rows, 1, Traffic{2}, with_table,
      [tokens](Kit& t) { t.kernels->embedding_forward(tokens(t), t[2], 0, t[0]); });
  add("embedding backward", "update", rows, 1, Traffic{1, 2}, with_gradient,
      [tokens](Kit& t) { t.kernels->embedding_backward(tokens(t), t[0], 0, t[2]); });
}

void add_flat_cases(BackendKind kind, std::vector<Entry>& entries) {
  const Shape flat{32 << 20};
  const auto add = [&](auto&&... arguments) { entries.push_back(entry(kind, arguments...)); };
  const bool mixed = kind == BackendKind::kCpuBF16;
  add(
      "AdamW", "update", flat, 0, Traffic{mixed ? 1.0 : 0.0, 7},
      [flat](Kit& t) {
        for (uint64_t seed : {1, 2, 3}) t.add_wide(flat, seed);
        t.add_wide(flat, 0);
        t.kernels->fill(t[3], 1e-4);
        if (t.mixed()) t.add(flat, 0);
      },
      [](Kit& t) {
        const Tensor narrow = t.mixed() ? t[4] : Tensor();
        t.kernels->adamw(t[0], t[1], t[2], t[3], narrow, {1e-4, 0.9, 0.95, 1e-8, 0.1, 10, 1.0});
      });
  add("sum of squares", "copy", flat, 1, Traffic{1}, nullptr, [](Kit& t) { t.kernels->sum_of_squares(t[0]); });
  if (!mixed) return;
  const auto with_wide = [flat](Kit& t) { t.add_wide(flat, 2); };
  add("to fp32", "copy", flat, 1, Traffic{1, 1}, with_wide, [](Kit& t) { t.kernels->cast(t[0], t[1]); });
  add("from fp32", "copy", flat, 1, Traffic{1, 1}, with_wide, [](Kit& t) { t.kernels->cast(t[1], t[0]); });
}

}  // namespace

std::vector<Entry> memory_cases() {
  std::vector<Entry> entries;
  for (const BackendKind kind : kPrecisions)
    for (const auto& add : {add_row_cases, add_embedding_cases, add_flat_cases}) add(kind, entries);
  return entries;
}

}  // namespace ropewalk::benchmark
