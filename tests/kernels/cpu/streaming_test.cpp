// Outputs too large for the caches are streamed past them (kernels/cpu/streaming.h). The bits must be the same as for
// two halves of the rows, which are written through the caches.
#include "kernels/cpu/streaming.h"

#include <cstring>

#include "kernels/bfloat16.h"
#include "tests/kernels/cpu/suite.h"

namespace ropewalk {
namespace {

constexpr int64_t kWidth = 256;

// A tensor that is just large enough to be streamed.
struct Large {
  Large(Kernels& kernels, int period) {
    const DType dtype = kernels.dtype();
    const int64_t rows = kStreamedBytes / (kWidth * size_of(dtype)) + 2;
    buffer = kernels.allocate(rows * kWidth * size_of(dtype));
    tensor = Tensor(buffer->data(), dtype, kernels.device(), {rows, kWidth});
    const auto value = [&](int64_t i) { return static_cast<float>(i % period) / static_cast<float>(period) - 0.5f; };
    for (int64_t i = 0; i < rows * kWidth; ++i)
      if (dtype == DType::kBF16)
        tensor.data<BFloat16>()[i] = BFloat16(value(i));
      else
        tensor.data<float>()[i] = value(i);
  }
  bool operator==(const Large& other) const {
    return std::memcmp(tensor.raw(), other.tensor.raw(), static_cast<size_t>(tensor.bytes())) == 0;
  }
  int64_t rows() const { return tensor.rows(); }

  std::unique_ptr<Buffer> buffer;
  Tensor tensor;
};

class CpuStreaming : public CpuSuite {
 protected:
  // Calls f with the backend in fp32, then in bf16.
  void in_each_precision(const std::function<void(Kernels&)>& f) {
    for (const BackendKind kind : {BackendKind::kCpu, BackendKind::kCpuBF16}) {
      SCOPED_TRACE(kind == BackendKind::kCpu ? "fp32" : "bf16");
      f(*make_kernels(kind));
    }
  }

  // Runs the call on all rows, then on each half of the rows of another output. Rows: selects these rows of a tensor.
  using Rows = std::function<Tensor(const Tensor&)>;
  void whole_and_halves(Kernels& kernels, const std::function<void(Large& output, const Rows&)>& call) {
    Large whole(kernels, 1), halves(kernels, 2);
    ASSERT_TRUE(worth_streaming(whole.tensor, {}));
    call(whole, [](const Tensor& x) { return x; });
    const int64_t half = whole.rows() / 2;
    for (const int64_t begin : {int64_t{0}, half}) {
      const auto rows = [&](const Tensor& x) { return x.slice(begin, begin + half); };
      ASSERT_FALSE(worth_streaming(rows(halves.tensor), {}));
      call(halves, rows);
    }
    EXPECT_TRUE(whole == halves);
  }

  // In the kernels' compute type.
  static Tensor row_of_weights(Kernels& kernels, Twin& fp32, std::unique_ptr<Buffer>& buffer) {
    const Tensor from = fp32.fast();
    buffer = kernels.allocate(from.elements() * size_of(kernels.dtype()));
    const Tensor to(buffer->data(), kernels.dtype(), kernels.device(), from.shape());
    kernels.cast(from, to);
    return to;
  }
};

TEST_P(CpuStreaming, Add) {
  in_each_precision([&](Kernels& k) {
    const Large a(k, 997), b(k, 1009);
    whole_and_halves(k, [&](Large& y, const Rows& rows) { k.add(rows(a.tensor), rows(b.tensor), rows(y.tensor)); });
  });
}

TEST_P(CpuStreaming, SwiGluForward) {
  in_each_precision([&](Kernels& k) {
    const Large gate(k, 997), up(k, 1009);
    whole_and_halves(
        k, [&](Large& h, const Rows& rows) { k.swiglu_forward(rows(gate.tensor), rows(up.tensor), rows(h.tensor)); });
  });
}

TEST_P(CpuStreaming, LayerNorm) {
  in_each_precision([&](Kernels& k) {
    const Large x(k, 997), dy(k, 1009);
    Twin weights = Twin::normal({1, kWidth}, "w");
    std::unique_ptr<Buffer> buffer;
    const Tensor w = row_of_weights(k, weights, buffer);
    Twin mean = Twin::poison({x.rows()}), rstd = Twin::poison({x.rows()});
    whole_and_halves(k, [&](Large& y, const Rows& rows) {
      k.layer_norm_forward(rows(x.tensor), w, 1e-5, rows(y.tensor), rows(mean.fast()), rows(rstd.fast()));
    });
    std::vector<Twin> dw(2, Twin::filled({1, kWidth}, 0));  // of all rows, of the halves
    whole_and_halves(k, [&](Large& dx, const Rows& rows) {
      const bool whole = rows(dx.tensor).rows() == x.rows();
      k.layer_norm_backward(rows(dy.tensor), rows(x.tensor), w, rows(mean.fast()), rows(rstd.fast()), Tensor(),
                            rows(dx.tensor), dw[whole ? 0 : 1].fast(), Write::kAdd);
    });
    if (k.dtype() == DType::kBF16) return;  // each call adds its sum to dw
    EXPECT_EQ(dw[0].fast_values(), dw[1].fast_values());
  });
}

// Other ranks hold some of the tokens.
TEST_P(CpuStreaming, EmbeddingForward) {
  in_each_precision([&](Kernels& k) {
    Twin fp32 = Twin::normal({16, kWidth}, "table");
    std::unique_ptr<Buffer> buffer;
    const Tensor table = row_of_weights(k, fp32, buffer);
    std::vector<int32_t> ids = integer_values(Large(k, 1).rows(), 0, 40, "tokens");
    const Tensor tokens = tensor_of(ids, {static_cast<int64_t>(ids.size())});
    whole_and_halves(k,
                     [&](Large& x, const Rows& rows) { k.embedding_forward(rows(tokens), table, 10, rows(x.tensor)); });
  });
}

// From fp32 and, in bf16, to it.
TEST_P(CpuStreaming, Cast) {
  const auto mixed = make_kernels(BackendKind::kCpuBF16);
  const Large narrow(*mixed, 997);
  whole_and_halves(
      *cpu, [&](Large& y, const Rows& rows) { mixed->cast(rows(narrow.tensor.slice(0, y.rows())), rows(y.tensor)); });
  // As many rows of fp32 as a streamed bf16 output has.
  const int64_t rows_of_bf16 = narrow.rows();
  const auto buffer = cpu->allocate(rows_of_bf16 * kWidth * 4);
  const Tensor many(buffer->data(), DType::kF32, cpu->device(), {rows_of_bf16, kWidth});
  for (int64_t i = 0; i < many.elements(); ++i) many.data<float>()[i] = static_cast<float>(i % 1009) / 1009;
  whole_and_halves(*mixed, [&](Large& y, const Rows& rows) { mixed->cast(rows(many), rows(y.tensor)); });
}

// Not in place, where the lines are cached already, and not for rows that do not begin on a 64-byte boundary.
TEST_P(CpuStreaming, IsOnlyForOutputsThatCanBe) {
  const Large x(*cpu, 997);
  EXPECT_TRUE(worth_streaming(x.tensor, {}));
  EXPECT_FALSE(worth_streaming(x.tensor, {&x.tensor}));
  std::vector<float> odd(static_cast<size_t>(x.rows() * kWidth));
  EXPECT_FALSE(worth_streaming(tensor_of(odd, {x.rows() * kWidth / 8, 8}), {}));
  const Tensor shifted(x.tensor.data<float>() + 1, DType::kF32, cpu->device(), {x.rows() - 1, kWidth});
  EXPECT_FALSE(worth_streaming(shifted, {}));
}

ROPEWALK_CPU_SUITE(CpuStreaming);

}  // namespace
}  // namespace ropewalk
