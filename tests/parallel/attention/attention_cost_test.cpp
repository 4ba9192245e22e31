// The closed forms of what a rank's attention takes, against the schedules.
#include "parallel/attention/attention_cost.h"

#include <gtest/gtest.h>

#include "parallel/attention/halo_plan.h"
#include "parallel/attention/ring_plan.h"

namespace ropewalk {
namespace {

int64_t pairs_of_rank(const SequenceLayout& layout, int rank, int64_t window) {
  int64_t pairs = 0;
  for (const Piece& piece : layout.pieces(rank))
    for (int64_t i = piece.begin; i < piece.end; ++i) pairs += std::min(i + 1, window);
  return pairs;
}

TEST(AttentionCost, IsThatOfTheRing) {
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (int64_t length = 0; length <= 40; ++length) {
      const SequenceLayout layout(length, ranks);
      for (int rank = 0; rank < ranks; ++rank) {
        int64_t sent = 0, gradients = 0;
        for (int step = 0; step + 1 < ranks; ++step) sent += layout.local_length(ring_source(rank, step, ranks));
        for (int step = 2; step <= ranks; ++step) gradients += layout.local_length(ring_source(rank, step - 1, ranks));
        const AttentionCost cost = ring_cost(layout, rank);
        EXPECT_EQ(cost.pairs, pairs_of_rank(layout, rank, length));
        EXPECT_EQ(cost.sent_rows, sent);
        EXPECT_EQ(cost.sent_gradient_rows, ranks == 1 ? 0 : gradients);
      }
    }
}

TEST(AttentionCost, IsThatOfTheHalo) {
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (int64_t length = 0; length <= 40; ++length)
      for (const int64_t window : {1, 2, 7, 39, 50}) {
        const SequenceLayout layout(length, ranks);
        int64_t sent = 0, returned = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          const AttentionCost cost = halo_cost(layout, rank, window);
          EXPECT_EQ(cost.pairs, pairs_of_rank(layout, rank, window));
          sent += cost.sent_rows;
          returned += cost.sent_gradient_rows;
          int64_t halo = 0;
          for (const Piece& piece : layout.pieces(rank)) halo += std::min(piece.begin, window - 1);
          EXPECT_EQ(cost.halo_rows, halo);
          EXPECT_EQ(cost.home_rows, cost.sent_rows);
          const HaloPlan plan = make_halo_plan(layout, rank, window, {});
          EXPECT_EQ(cost.sent_rows, plan.sent_rows());
          EXPECT_EQ(cost.sent_gradient_rows, plan.received_rows());
          EXPECT_EQ(cost.halo_rows, plan.halo_rows);
        }
        EXPECT_EQ(sent, returned) << "what is fetched comes home";
      }
}

}  // namespace
}  // namespace ropewalk
