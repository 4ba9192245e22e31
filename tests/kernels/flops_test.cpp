#include "kernels/flops.h"

#include <gtest/gtest.h>

#include "kernels/arena.h"
#include "kernels/counting_backend.h"

namespace ropewalk {
namespace {

int64_t counted_pairs(int64_t queries, int64_t keys, const AttentionSpan& span) {
  int64_t pairs = 0;
  for (int64_t i = span.q_begin; i < span.q_begin + queries; ++i)
    for (int64_t j = span.k_begin; j < span.k_begin + keys; ++j)
      pairs += j <= i && (!span.window || i - j < *span.window);
  return pairs;
}

TEST(Flops, CountExactlyTheVisiblePairs) {
  for (const int64_t queries : {0, 1, 5, 8})
    for (const int64_t keys : {0, 1, 6, 9})
      for (const int64_t q_begin : {0, 3, 7, 20})
        for (const int64_t k_begin : {0, 2, 7, 21})
          for (const std::optional<int64_t> window :
               {std::optional<int64_t>(), std::optional<int64_t>(1), std::optional<int64_t>(4),
                std::optional<int64_t>(19), std::optional<int64_t>(INT64_MAX)}) {
            const AttentionSpan span{q_begin, k_begin, window, Tensor()};
            EXPECT_EQ(visible_pairs(queries, keys, span), counted_pairs(queries, keys, span))
                << queries << " queries from " << q_begin << ", " << keys << " keys from " << k_begin << ", window "
                << window.value_or(0);
          }
}

TEST(Flops, CountDocuments) {
  int32_t begins[] = {0, 0, 2, 2, 4};
  const AttentionSpan span{0, 0, std::nullopt, Tensor(begins, DType::kI32, Device{}, {5})};
  EXPECT_EQ(visible_pairs(5, 5, span), 1 + 2 + 1 + 2 + 1);
}

// 256 GiB of address space, which costs nothing but must not be written.
TEST(CountingBackend, HasMemoryThatReadsAsZeroAndIsNotThere) {
  CountingBackend backend(DType::kF32);
  const auto buffer = backend.allocate(int64_t{1} << 38);
  const Tensor x(buffer->data(), DType::kF32, backend.device(), {int64_t{1} << 36});
  EXPECT_EQ(x.data<float>()[(int64_t{1} << 36) - 1], 0.0f);
  float host[2] = {1, 1};
  backend.download(x.slice(5, 7), host);
  EXPECT_EQ(host[0] + host[1], 0.0f);
  EXPECT_DEATH(x.data<float>()[3] = 1, "");
}

TEST(CountingBackend, CountsByKindAndComputesNothing) {
  Kernels kernels(std::make_unique<CountingBackend>(DType::kF32));
  const auto& backend = dynamic_cast<const CountingBackend&>(kernels.backend());
  Arena arena(kernels);
  arena.reserve(1 << 20);
  const auto tensor = [&](Shape shape) { return arena.allocate(DType::kF32, shape); };
  kernels.linear_forward(tensor({5, 7}), tensor({3, 7}), tensor({5, 3}), Write::kSet);
  kernels.linear_backward_input(tensor({5, 3}), tensor({3, 7}), tensor({5, 7}), Write::kSet);
  kernels.linear_backward_weight(tensor({5, 3}), tensor({5, 7}), tensor({3, 7}), Write::kSet);
  EXPECT_EQ(backend.flops().products, 3 * 2 * 5 * 7 * 3);
  const Tensor q = tensor({4, 6, 8}), k = tensor({4, 2, 8});
  const AttentionSpan full{0, 0, std::nullopt, Tensor()}, sliding{0, 0, 2, Tensor()};
  kernels.attention_forward(q, k, k, full, tensor({4, 6, 8}), tensor({4, 6}));
  EXPECT_EQ(backend.flops().full_attention, 4 * 8 * 6 * 10);
  kernels.attention_backward(q, k, k, q, tensor({4, 6}), tensor({4, 6}), sliding, tensor({4, 6, 8}), tensor({4, 2, 8}),
                             tensor({4, 2, 8}));
  EXPECT_EQ(backend.flops().sliding_attention, 10 * 8 * 6 * 7);
  // If these computed, they would write to memory that cannot be written.
  kernels.fill(q, 1);
  kernels.swiglu_forward(tensor({5, 3}), tensor({5, 3}), tensor({5, 3}));
  EXPECT_EQ(kernels.sum(q), 0);
  EXPECT_EQ(kernels.first_not_finite(q), std::nullopt);
}

}  // namespace
}  // namespace ropewalk
