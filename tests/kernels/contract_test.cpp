// Operands that break the contract of kernels.h fail CHECK on every host backend. One operand of an operation at a time
// gets a wrong type, a wrong shape, a wrong device or no memory.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "kernels/make_kernels.h"
#include "kernels/trace.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/counting_poller.h"

namespace ropewalk {
namespace {

class Contract : public testing::TestWithParam<BackendKind> {
 protected:
  Tensor make(DType dtype, Shape shape) {
    memory_.push_back(kernels->allocate(shape.elements() * size_of(dtype)));
    std::memset(memory_.back()->data(), 0, static_cast<size_t>(memory_.back()->bytes()));
    return Tensor(memory_.back()->data(), dtype, kernels->device(), shape);
  }
  Tensor compute(Shape shape) { return make(kernels->dtype(), shape); }
  Tensor accumulator(Shape shape) { return make(accumulator_of(kernels->dtype()), shape); }
  Tensor integers(Shape shape) { return make(DType::kI32, shape); }

  static Shape with_one_row_more(const Shape& s) {
    switch (s.rank()) {
      case 1:
        return {s[0] + 1};
      case 2:
        return {s[0] + 1, s[1]};
      default:
        return {s[0] + 1, s[1], s[2]};
    }
  }
  static Shape with_one_column_more(const Shape& s) {
    switch (s.rank()) {
      case 1:
        return {s[0], 1};
      case 2:
        return {s[0], s[1] + 1};
      default:
        return {s[0], s[1], s[2] + 1};
    }
  }

  // `operation` succeeds on `operands`, in one call that is traced and polled. With any wrong operand it throws before
  // it is traced or polled.
  void check(const std::string& name, std::vector<Tensor> operands,
             const std::function<void(const std::vector<Tensor>&)>& operation) {
    Trace trace;
    trace.record(true);
    CountingPoller poller;
    const Kernels::Polling polling(k, poller);
    k.set_trace(&trace);
    EXPECT_NO_THROW(operation(operands)) << name;
    ASSERT_EQ(trace.spans().size(), 1u) << name;
    EXPECT_TRUE(name.starts_with(trace.spans()[0].name)) << name << " is traced as " << trace.spans()[0].name;
    EXPECT_EQ(poller.polls, 1) << name;
    for (size_t i = 0; i < operands.size(); ++i) {
      const Tensor good = operands[i];
      const Device elsewhere{Device::Kind::kCuda, 0};
      const DType wrong = good.dtype() == DType::kI32 ? DType::kF32 : DType::kI32;
      const auto refuse = [&](const char* what, const Tensor& bad) {
        operands[i] = bad;
        EXPECT_THROW(operation(operands), std::logic_error) << name << ": operand " << i << " with " << what;
        operands[i] = good;
      };
      refuse("a wrong type", make(wrong, good.shape()));
      refuse("a row more", make(good.dtype(), with_one_row_more(good.shape())));
      refuse("a column more", make(good.dtype(), with_one_column_more(good.shape())));
      refuse("another device", Tensor(good.raw(), good.dtype(), elsewhere, good.shape()));
      refuse("no memory", Tensor(nullptr, good.dtype(), good.device(), good.shape()));
      refuse("nothing", Tensor());
    }
    EXPECT_EQ(trace.spans().size(), 1u) << name;
    EXPECT_EQ(poller.polls, 1) << name;
    k.set_trace(nullptr);
  }

  std::unique_ptr<Kernels> kernels = make_kernels(GetParam());
  Kernels& k = *kernels;

 private:
  std::vector<std::unique_ptr<Buffer>> memory_;
};

using Operands = std::vector<Tensor>;

TEST_P(Contract, OfElementwiseOperations) {
  check("copy", {compute({3, 2}), compute({3, 2})}, [&](const Operands& x) { k.copy(x[0], x[1]); });
  check("cast", {compute({3, 2}), make(DType::kBF16, {3, 2})}, [&](const Operands& x) { k.cast(x[0], x[1]); });
  check("add", {compute({3, 2}), compute({3, 2}), compute({3, 2})},
        [&](const Operands& x) { k.add(x[0], x[1], x[2]); });
  EXPECT_THROW(k.fill(integers({3}), 0), std::logic_error);
  EXPECT_THROW(k.sum(integers({3})), std::logic_error);
  EXPECT_THROW(k.sum_of_squares(integers({3})), std::logic_error);
  EXPECT_THROW(k.first_not_finite(integers({3})), std::logic_error);
}

TEST_P(Contract, OfProducts) {
  for (Write write : {Write::kSet, Write::kAdd}) {
    check("linear_forward", {compute({3, 4}), compute({5, 4}), compute({3, 5})},
          [&](const Operands& x) { k.linear_forward(x[0], x[1], x[2], write); });
    check("linear_backward_input", {compute({3, 5}), compute({5, 4}), compute({3, 4})},
          [&](const Operands& x) { k.linear_backward_input(x[0], x[1], x[2], write); });
    check("linear_backward_weight", {compute({3, 5}), compute({3, 4}), accumulator({5, 4})},
          [&](const Operands& x) { k.linear_backward_weight(x[0], x[1], x[2], write); });
  }
  if (kernels->dtype() == DType::kBF16) {
    EXPECT_THROW(k.linear_backward_weight(compute({3, 5}), compute({3, 4}), compute({5, 4}), Write::kAdd),
                 std::logic_error)
        << "a weight gradient in bf16";
  }
  const Tensor square = compute({4, 4});
  EXPECT_THROW(k.linear_forward(square, compute({4, 4}), square, Write::kSet), std::logic_error) << "y is x";
}

TEST_P(Contract, OfEmbedding) {
  // A table with one row more is valid too, so `check` does not get the table.
  const Tensor table = compute({7, 4}), dtable = accumulator({7, 4});
  check("embedding_forward", {integers({3}), compute({3, 4})},
        [&](const Operands& x) { k.embedding_forward(x[0], table, 0, x[1]); });
  check("embedding_backward", {integers({3}), compute({3, 4})},
        [&](const Operands& x) { k.embedding_backward(x[0], x[1], 0, dtable); });
  EXPECT_THROW(k.embedding_forward(integers({3}), integers({7, 4}), 0, compute({3, 4})), std::logic_error);
  EXPECT_THROW(k.embedding_backward(integers({3}), compute({3, 4}), 0, integers({7, 4})), std::logic_error);
}

TEST_P(Contract, OfLayerNorm) {
  const Tensor w = compute({2, 4});
  check("layer_norm_forward", {compute({3, 4}), compute({3, 4}), accumulator({3}), accumulator({3})},
        [&](const Operands& x) { k.layer_norm_forward(x[0], w, 1e-5, x[1], x[2], x[3]); });
  check(
      "layer_norm_backward",
      {compute({3, 4}), compute({3, 4}), accumulator({3}), accumulator({3}), compute({3, 4}), accumulator({2, 4})},
      [&](const Operands& x) { k.layer_norm_backward(x[0], x[1], w, x[2], x[3], Tensor(), x[4], x[5], Write::kAdd); });
  const Tensor x = compute({3, 4}), rows = accumulator({3});
  EXPECT_THROW(k.layer_norm_forward(x, compute({2, 5}), 1e-5, compute({3, 4}), rows, accumulator({3})),
               std::logic_error);
  EXPECT_THROW(k.layer_norm_forward(x, w, 1e-5, x, rows, accumulator({3})), std::logic_error) << "y is x";
  EXPECT_THROW(k.layer_norm_backward(x, x, w, rows, rows, compute({2, 4}), compute({3, 4}), w, Write::kSet),
               std::logic_error);
  EXPECT_THROW(k.layer_norm_forward(compute({3, 0}), compute({1, 0}), 1e-5, compute({3, 0}), rows, accumulator({3})),
               std::logic_error);
}

TEST_P(Contract, OfRotateAndSwiGlu) {
  EXPECT_NO_THROW(k.rotate(compute({2, 3, 4}), 0, 1e4, Rotation::kForward));
  EXPECT_THROW(k.rotate(compute({2, 3, 5}), 0, 1e4, Rotation::kForward), std::logic_error) << "an odd head size";
  EXPECT_THROW(k.rotate(compute({2, 12}), 0, 1e4, Rotation::kForward), std::logic_error);
  EXPECT_THROW(k.rotate(compute({2, 3, 4}), -1, 1e4, Rotation::kForward), std::logic_error);
  EXPECT_THROW(k.rotate(compute({2, 3, 4}), 0, 0, Rotation::kForward), std::logic_error);
  check("swiglu_forward", {compute({3, 4}), compute({3, 4}), compute({3, 4})},
        [&](const Operands& x) { k.swiglu_forward(x[0], x[1], x[2]); });
  check("swiglu_backward", {compute({3, 4}), compute({3, 4}), compute({3, 4}), compute({3, 4}), compute({3, 4})},
        [&](const Operands& x) { k.swiglu_backward(x[0], x[1], x[2], x[3], x[4]); });
  const Tensor gate = compute({3, 4}), up = compute({3, 4}), dh = compute({3, 4});
  EXPECT_NO_THROW(k.swiglu_backward(dh, gate, up, gate, up));
  EXPECT_THROW(k.swiglu_backward(dh, gate, up, dh, up), std::logic_error) << "dgate is dh";
}

TEST_P(Contract, OfAttention) {
  AttentionSpan span;
  // Keys with one row more are valid too, if the values have as many, so `check` does not get the keys.
  const Tensor q = compute({3, 4, 2}), key = compute({5, 2, 2}), value = compute({5, 2, 2});
  check("attention_forward", {compute({3, 4, 2}), compute({5, 2, 2}), accumulator({3, 4, 2}), accumulator({3, 4})},
        [&](const Operands& x) { k.attention_forward(x[0], key, x[1], span, x[2], x[3]); });
  check("attention_delta", {compute({3, 4, 2}), compute({3, 4, 2}), accumulator({3, 4})},
        [&](const Operands& x) { k.attention_delta(x[0], x[1], x[2]); });
  check("attention_backward",
        {compute({3, 4, 2}), compute({5, 2, 2}), compute({3, 4, 2}), accumulator({3, 4}), accumulator({3, 4}),
         accumulator({3, 4, 2}), accumulator({5, 2, 2}), accumulator({5, 2, 2})},
        [&](const Operands& x) { k.attention_backward(x[0], key, x[1], x[2], x[3], x[4], span, x[5], x[6], x[7]); });

  const Tensor o = accumulator({3, 4, 2}), lse = accumulator({3, 4});
  const auto forward = [&] { k.attention_forward(q, key, value, span, o, lse); };
  span.window = 0;
  EXPECT_THROW(forward(), std::logic_error) << "an empty window";
  span.window = 1;
  EXPECT_NO_THROW(forward());
  span.queries = -1;
  EXPECT_THROW(forward(), std::logic_error);
  span.queries = 0;
  span.document_begin = integers({2});
  EXPECT_THROW(forward(), std::logic_error) << "documents for two of three queries";
  span.document_begin = integers({3});
  EXPECT_NO_THROW(forward());
  EXPECT_THROW(k.attention_forward(compute({3, 3, 2}), key, value, span, compute({3, 3, 2}), accumulator({3, 3})),
               std::logic_error)
      << "three query heads over two key heads";
}

TEST_P(Contract, OfCrossEntropyAndAdamW) {
  check("cross_entropy_partials", {integers({3}), accumulator({3, 3})}, [&](const Operands& x) {
    k.cross_entropy_partials(compute({3, 7}), x[0], 0, 1, x[1]);
  });
  // Any number of pieces is valid, so `check` does not get the partials.
  check("cross_entropy_merge", {integers({3}), accumulator({3}), accumulator({3})}, [&](const Operands& x) {
    k.cross_entropy_merge(accumulator({2, 3, 3}), x[0], x[1], x[2]);
  });
  for (const Tensor& bad : {integers({2, 3, 3}), accumulator({2, 3, 2}), accumulator({2, 4, 3}), accumulator({3, 3})})
    EXPECT_THROW(k.cross_entropy_merge(bad, integers({3}), accumulator({3}), accumulator({3})), std::logic_error);
  check("cross_entropy_backward", {integers({3}), accumulator({3})}, [&](const Operands& x) {
    k.cross_entropy_backward(compute({3, 7}), x[0], x[1], 0, 1, 1);
  });
  const AdamWStep step{1e-3, 0.9, 0.99, 1e-8, 0.1, 1, 1};
  const bool mixed = k.dtype() != accumulator_of(k.dtype());
  const auto six = [&] { return accumulator({6}); };
  if (mixed)
    check("adamw", {six(), six(), six(), six(), compute({6})},
          [&](const Operands& x) { k.adamw(x[0], x[1], x[2], x[3], x[4], step); });
  else
    check("adamw", {six(), six(), six(), six()},
          [&](const Operands& x) { k.adamw(x[0], x[1], x[2], x[3], Tensor(), step); });
  EXPECT_THROW(k.adamw(six(), six(), six(), six(), mixed ? Tensor() : compute({6}), step), std::logic_error);
  const Tensor narrow = mixed ? compute({6}) : Tensor();
  EXPECT_THROW(k.adamw(six(), six(), six(), six(), narrow, AdamWStep{1, 0.9, 0.9, 1, 0, 0, 1}), std::logic_error)
      << "step 0";
}

INSTANTIATE_TEST_SUITE_P(Backends, Contract, host_backends(), backend_name);

}  // namespace
}  // namespace ropewalk
