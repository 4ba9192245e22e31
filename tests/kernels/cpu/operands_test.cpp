// What the matrix units do beyond their results: they read and write no byte outside their operands, and leave no state
// in the processor. Tiles are loaded by instructions that AddressSanitizer does not see, so operands lie between pages
// that may not be touched.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <list>
#include <thread>

#include "kernels/cpu/matrix_unit.h"
#include "tests/kernels/mixed_precision/suite.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

enum class Side { kBegin, kEnd };  // which end of the operand touches a page that may not be touched

class Guarded {
 public:
  Guarded(Kernels& kernels, Side side, Shape shape, DType dtype, const std::string& name, double fill = 0) {
    const int64_t page = sysconf(_SC_PAGESIZE), bytes = shape.elements() * size_of(dtype);
    const int64_t inside = (bytes + page - 1) / page * page;
    size_ = static_cast<size_t>(inside + 2 * page);
    memory_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory_ != MAP_FAILED, "mmap of {} bytes", size_);
    auto* const first = static_cast<std::byte*>(memory_);
    CHECK(mprotect(first, static_cast<size_t>(page), PROT_NONE) == 0, "mprotect");
    CHECK(mprotect(first + page + inside, static_cast<size_t>(page), PROT_NONE) == 0, "mprotect");
    tensor = Tensor(first + page + (side == Side::kEnd ? inside - bytes : 0), dtype, {}, shape);
    if (name.empty()) {
      kernels.fill(tensor, fill);
      return;
    }
    std::vector<double> values = normal_values(shape.elements(), name);
    kernels.cast(tensor_of(values, shape), tensor);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(memory_, size_); }

  Tensor tensor;

 private:
  void* memory_;
  size_t size_;
};

class CpuOperands : public FormSuite {
 protected:
  // Operands of this side; a name gives random values in the compute type.
  Tensor input(Side side, Shape shape, const std::string& name) {
    return guarded_.emplace_back(*tested, side, shape, tested->dtype(), name).tensor;
  }
  Tensor output(Side side, Shape shape) {
    return guarded_.emplace_back(*tested, side, shape, tested->dtype(), "").tensor;
  }
  Tensor sums(Side side, Shape shape, double fill = 0) {
    return guarded_.emplace_back(*tested, side, shape, DType::kF32, "", fill).tensor;
  }
  void TearDown() override { guarded_.clear(); }

  std::list<Guarded> guarded_;
};

TEST_P(CpuOperands, ProductsTouchNothingElse) {
  for (const Side side : {Side::kBegin, Side::kEnd})
    for (const auto& [N, I, O] :
         {std::array<int64_t, 3>{1, 1, 1}, {33, 17, 47}, {64, 64, 64}, {31, 96, 33}, {7, 1100, 5}})
      for (const Write write : {Write::kSet, Write::kAdd}) {
        const Tensor x = input(side, {N, I}, "x"), w = input(side, {O, I}, "w"), dy = input(side, {N, O}, "dy");
        tested->linear_forward(x, w, output(side, {N, O}), write);
        tested->linear_backward_input(dy, w, output(side, {N, I}), write);
        tested->linear_backward_weight(dy, x, sums(side, {O, I}), write);
        guarded_.clear();
      }
}

TEST_P(CpuOperands, AttentionTouchesNothingElse) {
  struct Sizes {
    int64_t T, U, H, G, K;
    Positions queries, keys;
    std::optional<int64_t> window;
  };
  const Sizes all[] = {{1, 1, 1, 1, 2, 0, 0, {}},
                       {33, 33, 3, 1, 20, 0, 0, {}},
                       {64, 64, 2, 2, 64, 0, 0, 7},
                       {31, 65, 4, 2, 48, 34, 0, {}},
                       {40, 50, 2, 1, 128, 90, 60, 33},
                       {5, 100, 2, 1, 80, 200, 0, 150},
                       {45, 70, 2, 1, 96, {10, 20, 9}, {3, 30, 5}, {}}};
  for (const Side side : {Side::kBegin, Side::kEnd})
    for (const Sizes& s : all) {
      AttentionSpan span;
      span.queries = s.queries, span.keys = s.keys, span.window = s.window;
      const Shape queries{s.T, s.H, s.K}, keys{s.U, s.G, s.K}, rows{s.T, s.H};
      const Tensor q = input(side, queries, "q"), k = input(side, keys, "k"), v = input(side, keys, "v");
      const Tensor d_o = input(side, queries, "do"), o = sums(side, queries), lse = sums(side, rows, -INFINITY);
      const Tensor saved = output(side, queries), delta = sums(side, rows);
      tested->attention_forward(q, k, v, span, o, lse);
      tested->cast(o, saved);
      tested->attention_delta(d_o, saved, delta);
      tested->attention_backward(q, k, v, d_o, lse, delta, span, sums(side, queries), sums(side, keys),
                                 sums(side, keys));
      guarded_.clear();
    }
}

// Ranks may be threads: each uses the unit on its own, and computes the same bits as alone.
TEST_P(CpuOperands, ThreadsComputeTheSameBits) {
  const auto compute = [](Kernels& kernels) {
    Operands x(kernels);
    const Tensor a = x.normal("a", {256, 256}), q = x.normal("q", {256, 4, 64});
    kernels.linear_forward(a, a, x.poison("y", {256, 256}), Write::kSet);
    kernels.attention_forward(q, q, q, {}, x.filled("o", q.shape()), x.filled("lse", {256, 4}, -INFINITY));
    std::vector<double> all = x.values("y"), o = x.values("o");
    all.insert(all.end(), o.begin(), o.end());
    return all;
  };
  const std::vector<double> alone = compute(*tested);
  std::vector<std::vector<double>> together(4);
  std::vector<std::thread> ranks;
  for (auto& result : together)
    ranks.emplace_back([&] {
      const auto kernels = make_under_test(form());
      for (int round = 0; round < 20; ++round) result = compute(*kernels);
    });
  for (std::thread& rank : ranks) rank.join();
  for (const auto& result : together) EXPECT_EQ(result, alone);
}

#if defined(__x86_64__)
// Tile registers in use cost the system 8 KiB at each switch of threads.
TEST_P(CpuOperands, LeaveNoTileState) {
  if (!matrix_units().tiles) GTEST_SKIP() << "this machine has no tiles";
  const auto palette = [] {
    alignas(64) uint8_t configuration[64];
    __asm__ volatile("sttilecfg %0" : "=m"(configuration));
    return configuration[0];
  };
  Operands x(*tested);
  const Tensor a = x.normal("a", {70, 64}), q = x.normal("q", {70, 2, 32});
  const Tensor o = x.filled("o", q.shape()), lse = x.filled("lse", {70, 2}, -INFINITY);
  tested->linear_forward(a, a, x.poison("y", {70, 70}), Write::kSet);
  EXPECT_EQ(palette(), 0) << "after a product";
  tested->attention_forward(q, q, q, {}, o, lse);
  EXPECT_EQ(palette(), 0) << "after attention";
  tested->attention_backward(q, q, q, q, lse, x.filled("delta", {70, 2}), {}, x.filled("dq", q.shape()),
                             x.filled("dk", q.shape()), x.filled("dv", q.shape()));
  EXPECT_EQ(palette(), 0) << "after attention's backward";
}
#endif

INSTANTIATE_TEST_SUITE_P(Forms, CpuOperands, testing::ValuesIn(forms_under_test()), name_of_form);

}  // namespace
}  // namespace ropewalk
