#include "kernels/flops.h"

#include <gtest/gtest.h>

#include "kernels/arena.h"
#include "kernels/counting_backend.h"

namespace ropewalk {
namespace {

int64_t counted_pairs(int64_t queries, int64_t keys, const AttentionSpan& span) {
  int64_t pairs = 0;
  for (int64_t t = 0; t < queries; ++t)
    for (int64_t u = 0; u < keys; ++u) {
      const int64_t i = span.queries.of(t), j = span.keys.of(u);
      pairs += j <= i && (!span.window || i - j < *span.window);
    }
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

TEST(Flops, CountTheVisiblePairsOfTwoRuns) {
  for (const Positions& queries : {Positions(3, 2, 5), Positions(0, 0, 4), Positions(6, 5, 9), Positions(1, 1, 30)})
    for (const Positions& keys : {Positions(0, 3, 6), Positions(4, 4, 1), Positions(2, 0, 1), Positions(0)})
      for (const std::optional<int64_t> window :
           {std::optional<int64_t>(), std::optional<int64_t>(1), std::optional<int64_t>(7)})
        for (const int64_t rows : {0, 1, 4, 9}) {
          const AttentionSpan span{queries, keys, window, Tensor()};
          EXPECT_EQ(visible_pairs(rows, 6, span), counted_pairs(rows, 6, span))
              << queries.begin << " " << keys.begin << " " << rows;
        }
}

TEST(Flops, CountDocuments) {
  int32_t begins[] = {0, 0, 2, 2, 4};
  const AttentionSpan span{0, 0, std::nullopt, Tensor(begins, DType::kI32, Device{}, {5})};
  EXPECT_EQ(visible_pairs(5, 5, span), 1 + 2 + 1 + 2 + 1);
}

// 256 GiB of address space, which costs nothing but must not be written.
TEST(CountingBackend, HasAddressesWithoutMemory) {
  CountingBackend backend(DType::kF32);
  const auto buffer = backend.allocate(int64_t{1} << 38);
  const Tensor x(buffer->data(), DType::kF32, backend.device(), {int64_t{1} << 36});
  float host[2] = {1, 1};
  backend.download(x.slice(5, 7), host);
  EXPECT_EQ(host[0] + host[1], 0.0f);
  EXPECT_DEATH(x.data<float>()[3] = 1, "");
  for (int i = 0; i < 100; ++i) EXPECT_GE(backend.allocate(int64_t{1} << 45)->bytes(), int64_t{1} << 45);
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

// Counts what each operation reads and writes, in bytes: with bf16 operands 2 a value, and 4 for sums and statistics.
TEST(CountingBackend, CountsTheBytesOfOperationsThatMemoryBounds) {
  Kernels kernels(std::make_unique<CountingBackend>(DType::kBF16));
  const auto& backend = dynamic_cast<const CountingBackend&>(kernels.backend());
  Arena arena(kernels);
  arena.reserve(1 << 20);
  const auto bf16 = [&](Shape shape) { return arena.allocate(DType::kBF16, shape); };
  const auto f32 = [&](Shape shape) { return arena.allocate(DType::kF32, shape); };
  const auto i32 = [&](Shape shape) { return arena.allocate(DType::kI32, shape); };
  const auto bytes_of = [&](const auto& operation) {
    const Work before = backend.work();
    operation();
    EXPECT_EQ(backend.flops().total(), before.flops.total());
    return static_cast<int64_t>(backend.work().memory_bytes - before.memory_bytes);
  };
  const Tensor x = bf16({6, 8}), y = bf16({6, 8}), z = bf16({6, 8}), u = bf16({6, 8}), v = bf16({6, 8});
  const Tensor wide = f32({6, 8});
  const int64_t n = 6 * 8;  // values of each
  EXPECT_EQ(bytes_of([&] { kernels.copy(x, y); }), 2 * n * 2);
  EXPECT_EQ(bytes_of([&] { kernels.cast(x, wide); }), n * (2 + 4));
  EXPECT_EQ(bytes_of([&] { kernels.fill(wide, 0); }), n * 4);
  EXPECT_EQ(bytes_of([&] { kernels.add(x, y, z); }), 3 * n * 2);
  EXPECT_EQ(bytes_of([&] { kernels.sum(wide); }), n * 4);
  EXPECT_EQ(bytes_of([&] { kernels.sum_of_squares(wide); }), n * 4);
  EXPECT_EQ(bytes_of([&] { kernels.first_not_finite(x); }), n * 2);
  EXPECT_EQ(bytes_of([&] { kernels.swiglu_forward(x, y, z); }), 3 * n * 2);
  EXPECT_EQ(bytes_of([&] { kernels.swiglu_backward(x, y, z, u, v); }), 5 * n * 2);
  EXPECT_EQ(bytes_of([&] { kernels.rotate(x.reshape({6, 2, 4}), 0, 1e4, Rotation::kForward); }), 2 * n * 2);

  const Tensor tokens = i32({6}), table = bf16({10, 8}), dtable = f32({10, 8});  // six of ten rows
  EXPECT_EQ(bytes_of([&] { kernels.embedding_forward(tokens, table, 0, x); }), 6 * 4 + 2 * n * 2);
  EXPECT_EQ(bytes_of([&] { kernels.embedding_backward(tokens, x, 0, dtable); }), 6 * 4 + n * (2 + 4 + 4));

  const Tensor w = bf16({1, 8}), dw = f32({1, 8}), mean = f32({6}), rstd = f32({6});
  EXPECT_EQ(bytes_of([&] { kernels.layer_norm_forward(x, w, 1e-5, y, mean, rstd); }), 2 * n * 2 + 8 * 2 + 2 * 6 * 4);
  const auto norm_backward = [&](const Tensor& through, Write write) {
    return bytes_of([&] { kernels.layer_norm_backward(x, y, w, mean, rstd, through, z, dw, write); });
  };
  EXPECT_EQ(norm_backward(Tensor(), Write::kSet), 3 * n * 2 + 8 * 2 + 2 * 6 * 4 + 8 * 4);
  EXPECT_EQ(norm_backward(u, Write::kSet) - norm_backward(Tensor(), Write::kSet), n * 2);
  EXPECT_EQ(norm_backward(u, Write::kAdd) - norm_backward(u, Write::kSet), 8 * 4);

  const Tensor heads = bf16({6, 2, 4});
  EXPECT_EQ(bytes_of([&] { kernels.attention_delta(heads, heads, f32({6, 2})); }), 2 * n * 2 + 6 * 2 * 4);

  const Tensor targets = i32({6}), log_sum = f32({6});
  EXPECT_EQ(bytes_of([&] {
              kernels.cross_entropy_partials(x, targets, 0, 1, f32({6, 3}));
            }),
            n * 2 + 6 * 4 + 6 * 3 * 4);
  EXPECT_EQ(bytes_of([&] {
              kernels.cross_entropy_merge(f32({2, 6, 3}), targets, log_sum, f32({6}));
            }),
            2 * 6 * 3 * 4 + 3 * 6 * 4);
  EXPECT_EQ(bytes_of([&] { kernels.cross_entropy_backward(x, targets, log_sum, 0, 1, 1); }), 2 * n * 2 + 2 * 6 * 4);

  const AdamWStep step{
      .rate = 1, .beta1 = 0, .beta2 = 0, .epsilon = 1, .weight_decay = 0, .step = 1, .gradient_scale = 1};
  EXPECT_EQ(bytes_of([&] { kernels.adamw(f32({9}), f32({9}), f32({9}), f32({9}), bf16({9}), step); }),
            9 * (4 * 4 + 3 * 4 + 2));
}

// Their arithmetic hides what they move.
TEST(CountingBackend, CountsNoBytesOfProductsAndAttention) {
  Kernels kernels(std::make_unique<CountingBackend>(DType::kF32));
  const auto& backend = dynamic_cast<const CountingBackend&>(kernels.backend());
  Arena arena(kernels);
  arena.reserve(1 << 20);
  const auto tensor = [&](Shape shape) { return arena.allocate(DType::kF32, shape); };
  const Tensor q = tensor({4, 6, 8}), k = tensor({4, 2, 8});
  kernels.linear_forward(tensor({5, 7}), tensor({3, 7}), tensor({5, 3}), Write::kAdd);
  kernels.attention_forward(q, k, k, AttentionSpan(), tensor({4, 6, 8}), tensor({4, 6}));
  EXPECT_GT(backend.flops().total(), 0);
  EXPECT_EQ(static_cast<int64_t>(backend.work().memory_bytes), 0);
}

}  // namespace
}  // namespace ropewalk
