#include "parallel/attention/sequence_layout.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/parallel/attention/plan_support.h"

namespace ropewalk {
namespace {

TEST(SequenceLayout, HoldsEveryPositionOnce) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int64_t length = 0; length <= 70; ++length) {
      const SequenceLayout layout(length, ranks);
      std::vector<int> held(static_cast<size_t>(length));
      int64_t longest = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        int64_t local = 0, end = -1;
        for (const Piece& piece : layout.pieces(rank)) {
          EXPECT_EQ(piece.local, local) << "rows follow one another";
          EXPECT_GT(piece.begin, end) << "adjacent pieces are joined, in order";
          EXPECT_GT(piece.size(), 0);
          for (int64_t i = piece.begin; i < piece.end; ++i) {
            ++held[static_cast<size_t>(i)];
            EXPECT_EQ(layout.piece_at(i).rank, rank);
            EXPECT_EQ(layout.piece_at(i).piece, piece);
          }
          local += piece.size();
          end = piece.end;
        }
        EXPECT_EQ(layout.local_length(rank), local);
        longest = std::max(longest, local);
        EXPECT_LE(std::abs(local * ranks - length), 2 * ranks) << "each of the two chunks differs by less than one";
      }
      EXPECT_EQ(layout.longest_local_length(), longest);
      EXPECT_TRUE(std::all_of(held.begin(), held.end(), [](int n) { return n == 1; })) << length << " over " << ranks;
    }
  }
}

TEST(SequenceLayout, IsZigzag) {
  const SequenceLayout layout(80, 4);
  const auto pieces = [&](int rank) {
    const Pieces held = layout.pieces(rank);
    return std::vector<Piece>(held.begin(), held.end());
  };
  EXPECT_EQ(pieces(0), (std::vector<Piece>{{0, 10, 0}, {70, 80, 10}}));
  EXPECT_EQ(pieces(1), (std::vector<Piece>{{10, 20, 0}, {60, 70, 10}}));
  EXPECT_EQ(pieces(2), (std::vector<Piece>{{20, 30, 0}, {50, 60, 10}}));
  EXPECT_EQ(pieces(3), (std::vector<Piece>{{30, 50, 0}}));
  const SequenceLayout alone(7, 1);
  EXPECT_EQ(alone.pieces(0).size(), 1u);
  EXPECT_EQ(alone.pieces(0)[0], (Piece{0, 7, 0}));
}

TEST(SequenceLayout, RefusesWhatIsNoLayout) {
  EXPECT_THROW(SequenceLayout(-1, 2), std::logic_error);
  EXPECT_THROW(SequenceLayout(8, 0), std::logic_error);
}

// The number of (query, key) pairs that a rank computes: its queries, each with every key that it sees. Measures
// balance.
int64_t pairs_of_rank(const SequenceLayout& layout, int rank, std::optional<int64_t> window,
                      const std::vector<int32_t>& document_begin = {}) {
  int64_t pairs = 0;
  for (const Piece& piece : layout.pieces(rank)) {
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      const int64_t document = document_begin.empty() ? 0 : document_begin[static_cast<size_t>(i)];
      const int64_t first = window ? std::max(document, i - *window + 1) : document;
      pairs += i - first + 1;
    }
  }
  return pairs;
}

TEST(PairsOfRanks, AgreeWithTheDefinition) {
  for (int ranks : {1, 2, 3}) {
    for (int64_t length : {0, 1, 5, 13}) {
      const SequenceLayout layout(length, ranks);
      for (const std::optional<int64_t> window : {std::optional<int64_t>(), {1}, {4}, {20}}) {
        for (uint64_t boundaries : {0u, 0b100100u, ~0u}) {
          const std::vector<int32_t> documents = documents_from_bits(length, boundaries);
          int64_t total = 0, expected = 0;
          for (int rank = 0; rank < ranks; ++rank) total += pairs_of_rank(layout, rank, window, documents);
          for (int64_t i = 0; i < length; ++i) {
            for (int64_t j = 0; j < length; ++j) expected += sees(i, j, window, documents);
          }
          EXPECT_EQ(total, expected);
        }
      }
    }
  }
}

double slowest_over_mean(int64_t length, int ranks, std::optional<int64_t> window) {
  const SequenceLayout layout(length, ranks);
  int64_t slowest = 0, total = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const int64_t pairs = pairs_of_rank(layout, rank, window);
    slowest = std::max(slowest, pairs);
    total += pairs;
  }
  return static_cast<double>(slowest) * ranks / static_cast<double>(total);
}

// Full attention: work is equal except that chunks may differ by one token. That changes a rank's pairs by at most
// about S, of a mean of S^2 / 2P, so slowest / mean <= 1 + 2P / S. Window W: the ranks that hold the beginning lack
// about W^2 / 2 of S W pairs, so slowest / mean <= 1 / (1 - W / 2S), plus 2P / S for chunks that differ by a token.
TEST(PairsOfRanks, AreBalanced) {
  for (int ranks = 2; ranks <= 8; ++ranks) {
    for (int64_t length : {8192, 8191, 32768 + 17, 262144}) {
      const double ragged = 2.0 * ranks / static_cast<double>(length);
      EXPECT_LE(slowest_over_mean(length, ranks, std::nullopt), 1 + ragged) << length << " over " << ranks;
      EXPECT_LE(slowest_over_mean(length, ranks, std::nullopt), 1.03);
      for (int64_t window : {int64_t{1}, int64_t{128}, length / 64, length / 20}) {
        const double beginning = 1 / (1 - static_cast<double>(window) / (2.0 * static_cast<double>(length)));
        EXPECT_LE(slowest_over_mean(length, ranks, window), beginning + ragged)
            << length << " over " << ranks << ", window " << window;
        EXPECT_LE(slowest_over_mean(length, ranks, window), 1.03);
      }
    }
  }
  EXPECT_LE(slowest_over_mean(262144, 32, 4096), 1.03);
  EXPECT_LE(slowest_over_mean(262144, 64, 4096), 1.03);
}

}  // namespace
}  // namespace ropewalk
