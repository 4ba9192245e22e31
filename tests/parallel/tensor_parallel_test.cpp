#include "parallel/tensor_parallel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/make_kernels.h"
#include "kernels/random.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

constexpr int64_t kColumns = 3;

// Random small integers [rows, kColumns], a function of name and rank; their sums are exact in any order.
Tensor draw(Arena& arena, const char* name, int rank, int64_t rows) {
  const RandomStream random(static_cast<uint64_t>(rank), name);
  const Tensor x = arena.allocate(DType::kF64, {rows, kColumns});
  for (int64_t i = 0; i < x.elements(); ++i) {
    x.data<double>()[i] = static_cast<double>(random.bits(static_cast<uint64_t>(i))[0] % 17) - 8;
  }
  return x;
}

std::vector<double> values(const Tensor& x) { return {x.data<double>(), x.data<double>() + x.elements()}; }

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// enter() of all rows, of which this rank contributes its rows `outside`.
Tensor entered(const TensorRegion& region, const Tensor& outside, int64_t rows, Arena& arena) {
  const Tensor all = arena.allocate(DType::kF64, {rows, kColumns});
  std::fill_n(all.data<double>(), all.elements(), std::nan(""));
  std::copy_n(outside.data<double>(), outside.elements(), region.outside(all).data<double>());
  region.enter(all);
  return all;
}

class Regions : public testing::TestWithParam<std::tuple<int, bool, int64_t>> {
 protected:
  void on_every_rank(const std::function<void(Communicator&, const TensorRegion&, int64_t rows, Arena&)>& body) {
    const auto [ranks, token_split, rows] = GetParam();
    run_ranks(ranks, [&, split = token_split, n = rows](const std::shared_ptr<Communicator>& world) {
      const std::unique_ptr<Kernels> kernels = make_kernels(BackendKind::kReferenceF64);
      Arena arena(*kernels, 1 << 16);
      body(*world, TensorRegion(*world, split), n, arena);
    });
  }
};
INSTANTIATE_TEST_SUITE_P(RanksSplitRows, Regions,
                         testing::Combine(testing::Values(1, 2, 3, 5), testing::Bool(), testing::Values(0, 1, 7, 20)));

TEST_P(Regions, HoldEveryRowOutsideOnceIfSplit) {
  on_every_rank([](Communicator& group, const TensorRegion& region, int64_t rows, Arena&) {
    const double outside = sum_of(group, static_cast<double>(region.outside_rows(rows)));
    EXPECT_EQ(outside, static_cast<double>(region.token_split() ? rows : rows * group.size()));
  });
}

// The adjoint identity <enter(x), y> = <x, enter_backward(y)>. Inside the region every rank holds all of enter(x) and a
// partial sum y, so the left side is summed over ranks. Outside, whole activations are the same on all ranks, and count
// once; split activations differ, and the right side is summed over ranks.
TEST_P(Regions, EnteringIsTheAdjointOfEnterBackward) {
  on_every_rank([](Communicator& group, const TensorRegion& region, int64_t rows, Arena& arena) {
    const bool split = region.token_split();
    const Tensor x = draw(arena, "x", split ? group.rank() : 0, region.outside_rows(rows));
    const Tensor y = draw(arena, "y", group.rank(), rows);
    const std::vector<double> x_values = values(x), y_values = values(y);  // the calls may change their arguments
    const double left = dot(values(entered(region, x, rows, arena)), y_values);
    const double right = dot(x_values, values(region.enter_backward(y, arena)));
    EXPECT_EQ(sum_of(group, left), split ? sum_of(group, right) : right);
  });
}

// <leave(p), y> = <p, leave_backward(y)>; here the right side is summed over the ranks' partial p.
TEST_P(Regions, LeavingIsTheAdjointOfLeaveBackward) {
  on_every_rank([](Communicator& group, const TensorRegion& region, int64_t rows, Arena& arena) {
    const bool split = region.token_split();
    const Tensor partial = draw(arena, "p", group.rank(), rows);
    const Tensor y = draw(arena, "y", split ? group.rank() : 0, region.outside_rows(rows));
    const std::vector<double> partial_values = values(partial), y_values = values(y);
    const double left = dot(values(region.leave(partial, arena)), y_values);
    const double right = dot(partial_values, values(region.leave_backward(y, rows, arena)));
    EXPECT_EQ(split ? sum_of(group, left) : left, sum_of(group, right));
  });
}

// The adjoint identity does not show that the values are right: leaving must sum, entering must gather the right rows.
TEST_P(Regions, LeavingSumsAndEnteringGathers) {
  on_every_rank([](Communicator& group, const TensorRegion& region, int64_t rows, Arena& arena) {
    std::vector<double> sums(static_cast<size_t>(rows * kColumns));
    for (int rank = 0; rank < group.size(); ++rank) {
      const std::vector<double> part = values(draw(arena, "p", rank, rows));
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += part[i];
    }
    const Tensor outside = region.leave(draw(arena, "p", group.rank(), rows), arena);
    EXPECT_EQ(outside.rows(), region.outside_rows(rows));
    EXPECT_EQ(values(entered(region, outside, rows, arena)), sums);
  });
}

TEST(TensorRegion, RefusesRowsThatAreNotThisRanks) {
  run_ranks(1, [](const std::shared_ptr<Communicator>& world) {
    const std::unique_ptr<Kernels> kernels = make_kernels(BackendKind::kReferenceF64);
    Arena arena(*kernels, 1 << 16);
    EXPECT_THROW(TensorRegion(*world, false).leave_backward(draw(arena, "x", 0, 4), 5, arena), std::logic_error);
  });
}

}  // namespace
}  // namespace ropewalk
