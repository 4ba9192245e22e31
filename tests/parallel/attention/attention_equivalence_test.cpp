// Attention over P ranks equals attention on one, and one equals the formulas.
#include <gtest/gtest.h>

#include "kernels/make_kernels.h"
#include "kernels/random.h"
#include "parallel/attention/attention_pass.h"
#include "tests/parallel/attention/attention_case.h"

namespace ropewalk {
namespace {

// A random number in [low, high], the same for the same (seed, name).
int64_t pick(uint64_t seed, const char* name, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(RandomStream(seed, name).uniform(0) * static_cast<double>(high - low + 1));
}

// Documents that begin at random, at every edge of a chunk, everywhere, or one position off the edges.
std::vector<int32_t> random_documents(uint64_t seed, int64_t length, int ranks) {
  const int64_t pattern = pick(seed, "pattern", 0, 3);
  const RandomStream random(seed, "boundaries");
  const Partition chunks = Partition::even(length, 2 * ranks);
  const auto is_edge = [&](int64_t i) {
    for (int c = 0; c < chunks.parts(); ++c) {
      if (chunks.begin(c) == i) return true;
    }
    return false;
  };
  std::vector<int32_t> out;
  int32_t begin = 0;
  for (int64_t i = 0; i < length; ++i) {
    const bool begins = pattern == 0   ? random.uniform(static_cast<uint64_t>(i)) < 0.1
                        : pattern == 1 ? is_edge(i)
                        : pattern == 2 ? is_edge(i + 1) || is_edge(i - 1)
                                       : random.uniform(static_cast<uint64_t>(i)) < 0.8;
    if (begins) begin = static_cast<int32_t>(i);
    out.push_back(begin);
  }
  return out;
}

AttentionCase random_case(uint64_t seed, int ranks, bool sliding) {
  AttentionCase problem;
  problem.seed = seed;
  problem.sequences = pick(seed, "sequences", 1, 3);
  problem.length = pick(seed, "length", 1, 70);
  problem.key_heads = pick(seed, "key heads", 1, 2);
  problem.heads = problem.key_heads * pick(seed, "group", 1, 3);
  problem.head_size = 2 * pick(seed, "head size", 1, 4);
  if (sliding) {
    const int64_t chunk = std::max<int64_t>(problem.length / (2 * ranks), 2);
    const int64_t windows[] = {1, 2, chunk - 1, chunk, chunk + 1, 3 * chunk, problem.length, problem.length + 5};
    problem.window = windows[pick(seed, "window", 0, 7)];
  }
  if (pick(seed, "documents", 0, 2) > 0) {
    for (int64_t b = 0; b < problem.sequences; ++b) {
      problem.documents.push_back(random_documents(seed + 1000 * static_cast<uint64_t>(b), problem.length, ranks));
    }
  }
  return problem;
}

void expect_equal_to_one_rank(const AttentionCase& problem, int ranks) {
  const AttentionTensors one = run_attention(problem, 1), many = run_attention(problem, ranks);
  EXPECT_LE(worst_error(one, naive_attention(problem)), kTolerance) << "one rank, " << problem.text();
  EXPECT_LE(worst_error(many, one), kTolerance) << ranks << " ranks, " << problem.text();
  EXPECT_TRUE(run_attention(problem, ranks).same_bits(many)) << "the same bits on two runs, " << ranks << " ranks";
}

class Equivalence : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Equivalence, testing::Range(1, 9));

TEST_P(Equivalence, RingOfRandomCases) {
  for (uint64_t trial = 0; trial < 12; ++trial) {
    expect_equal_to_one_rank(random_case(100 * static_cast<uint64_t>(GetParam()) + trial, GetParam(), false),
                             GetParam());
  }
}

TEST_P(Equivalence, HaloOfRandomCases) {
  for (uint64_t trial = 0; trial < 24; ++trial) {
    expect_equal_to_one_rank(random_case(100 * static_cast<uint64_t>(GetParam()) + trial, GetParam(), true),
                             GetParam());
  }
}

// All windows near the size of a chunk and near the length, on a length that 2P does not divide.
TEST_P(Equivalence, HaloOfEveryWindow) {
  const int64_t length = 33, chunk = std::max<int64_t>(length / (2 * GetParam()), 2);
  for (int64_t window : {int64_t{1}, int64_t{2}, chunk - 1, chunk, chunk + 1, chunk + 2, 2 * chunk + 1, length,
                         length + 1, int64_t{1} << 40}) {
    expect_equal_to_one_rank({1, length, 2, 1, 4, window, {}, 7}, GetParam());
  }
}

// Pieces that are visited in several parts, the last of which is shorter. kTolerance is linear in the number of terms,
// at most 256 where it is defined and kLength here.
TEST(DistributedAttention, LongPieces) {
  constexpr int64_t kLength = 4 * kQueriesPerProgress + 250;
  const double tolerance = kTolerance * (kLength / 256.0);
  for (const std::optional<int64_t> window : {std::optional<int64_t>(), {100}}) {
    const AttentionCase problem{1, kLength, 1, 1, 2, window, {}, 21};
    const AttentionTensors one = run_attention(problem, 1), two = run_attention(problem, 2);
    EXPECT_LE(worst_error(two, one), tolerance) << problem.text();
    EXPECT_TRUE(run_attention(problem, 2).same_bits(two));
  }
}

// Fewer tokens than chunks: some ranks hold no token, but make all calls.
TEST_P(Equivalence, HardlyAnyTokens) {
  for (int64_t length : {0, 1, 2, 3, 5}) {
    expect_equal_to_one_rank({2, length, 2, 2, 4, std::nullopt, {}, 8}, GetParam());
    expect_equal_to_one_rank({2, length, 2, 2, 4, 3, {}, 8}, GetParam());
  }
}

// The fast CPU kernels, in fp32: pieces that begin anywhere, blocks and halos of every size.
TEST_P(Equivalence, CpuBackend) {
  for (uint64_t trial = 0; trial < 12; ++trial) {
    const AttentionCase problem =
        random_case(5000 + 100 * static_cast<uint64_t>(GetParam()) + trial, GetParam(), trial % 2);
    EXPECT_LE(worst_error(run_attention(problem, GetParam(), BackendKind::kCpu), naive_attention(problem)),
              kToleranceF32)
        << GetParam() << " ranks, " << problem.text();
  }
}

TEST(DistributedAttention, RefusesShapesThatDoNotFit) {
  const AttentionCase problem{1, 6, 2, 1, 4, std::nullopt, {}, 9};
  EXPECT_THROW(run_attention({1, 6, 2, 1, 4, 0, {}, 9}, 1), std::logic_error) << "a window of no keys";
  AttentionCase wrong = problem;
  wrong.documents = {{0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0}};
  EXPECT_THROW(run_attention(wrong, 1), std::logic_error) << "documents of two sequences";
}

}  // namespace
}  // namespace ropewalk
