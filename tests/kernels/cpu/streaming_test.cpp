// Outputs too large for the caches are streamed past them (kernels/cpu/streaming.h). The bits must be the same as for
// two halves of the rows, which are written through the caches.
#include "kernels/cpu/streaming.h"

#include <cstring>

#include "tests/kernels/cpu/suite.h"

namespace ropewalk {
namespace {

constexpr int64_t kWidth = 256;
constexpr int64_t kRows = kStreamedBytes / (kWidth * static_cast<int64_t>(sizeof(float))) + 2;  // just streamed

class CpuStreaming : public CpuSuite {
 protected:
  struct Large {
    explicit Large(Kernels& kernels, int period) : buffer(kernels.allocate(kRows * kWidth * 4)) {
      tensor = Tensor(buffer->data(), DType::kF32, kernels.device(), {kRows, kWidth});
      for (int64_t i = 0; i < kRows * kWidth; ++i)
        tensor.data<float>()[i] = static_cast<float>(i % period) / static_cast<float>(period) - 0.5f;
    }
    bool operator==(const Large& other) const {
      return std::memcmp(tensor.raw(), other.tensor.raw(), static_cast<size_t>(tensor.bytes())) == 0;
    }
    std::unique_ptr<Buffer> buffer;
    Tensor tensor;
  };

  // Runs the call on all rows, then on each half of the rows of another output. Rows: selects these rows of a tensor.
  using Rows = std::function<Tensor(const Tensor&)>;
  void whole_and_halves(const std::function<void(Large& output, const Rows&)>& call) {
    Large whole(*cpu, 1), halves(*cpu, 2);
    ASSERT_TRUE(worth_streaming(whole.tensor, {}));
    call(whole, [](const Tensor& x) { return x; });
    for (const int64_t begin : {int64_t{0}, kRows / 2}) {
      const auto half = [&](const Tensor& x) { return x.slice(begin, begin + kRows / 2); };
      ASSERT_FALSE(worth_streaming(half(halves.tensor), {}));
      call(halves, half);
    }
    EXPECT_TRUE(whole == halves);
  }
};

TEST_P(CpuStreaming, Add) {
  const Large a(*cpu, 997), b(*cpu, 1009);
  whole_and_halves([&](Large& y, const Rows& rows) { cpu->add(rows(a.tensor), rows(b.tensor), rows(y.tensor)); });
}

TEST_P(CpuStreaming, SwiGluForward) {
  const Large gate(*cpu, 997), up(*cpu, 1009);
  whole_and_halves(
      [&](Large& h, const Rows& rows) { cpu->swiglu_forward(rows(gate.tensor), rows(up.tensor), rows(h.tensor)); });
}

TEST_P(CpuStreaming, LayerNorm) {
  const Large x(*cpu, 997), dy(*cpu, 1009);
  Twin w = Twin::normal({1, kWidth}, "w"), mean = Twin::poison({kRows}), rstd = Twin::poison({kRows});
  whole_and_halves([&](Large& y, const Rows& rows) {
    cpu->layer_norm_forward(rows(x.tensor), w.fast(), 1e-5, rows(y.tensor), rows(mean.fast()), rows(rstd.fast()));
  });
  std::vector<Twin> dw(2, Twin::filled({1, kWidth}, 0));  // of all rows, of the halves
  whole_and_halves([&](Large& dx, const Rows& rows) {
    const bool whole = rows(dx.tensor).rows() == kRows;
    cpu->layer_norm_backward(rows(dy.tensor), rows(x.tensor), w.fast(), rows(mean.fast()), rows(rstd.fast()), Tensor(),
                             rows(dx.tensor), dw[whole ? 0 : 1].fast(), Write::kAdd);
  });
  EXPECT_EQ(dw[0].fast_values(), dw[1].fast_values());
}

// Other ranks hold some of the tokens.
TEST_P(CpuStreaming, EmbeddingForward) {
  std::vector<int32_t> ids = integer_values(kRows, 0, 40, "tokens");
  const Tensor tokens = tensor_of(ids, {kRows});
  Twin table = Twin::normal({16, kWidth}, "table");
  whole_and_halves(
      [&](Large& x, const Rows& rows) { cpu->embedding_forward(rows(tokens), table.fast(), 10, rows(x.tensor)); });
}

// Not in place, where the lines are cached already, and not for rows that do not begin on a 64-byte boundary.
TEST_P(CpuStreaming, IsOnlyForOutputsThatCanBe) {
  const Large x(*cpu, 997);
  EXPECT_TRUE(worth_streaming(x.tensor, {}));
  EXPECT_FALSE(worth_streaming(x.tensor, {&x.tensor}));
  std::vector<float> odd(static_cast<size_t>(kRows * kWidth));
  EXPECT_FALSE(worth_streaming(tensor_of(odd, {kRows * kWidth / 8, 8}), {}));
  const Tensor shifted(x.tensor.data<float>() + 1, DType::kF32, cpu->device(), {kRows - 1, kWidth});
  EXPECT_FALSE(worth_streaming(shifted, {}));
}

ROPEWALK_CPU_SUITE(CpuStreaming);

}  // namespace
}  // namespace ropewalk
