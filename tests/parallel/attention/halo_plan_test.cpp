#include "parallel/attention/halo_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/parallel/attention/plan_support.h"

namespace ropewalk {
namespace {

std::vector<HaloPlan> plans_of(const SequenceLayout& layout, int64_t window, const std::vector<int32_t>& documents) {
  std::vector<HaloPlan> plans;
  for (int rank = 0; rank < layout.ranks(); ++rank) plans.push_back(make_halo_plan(layout, rank, window, documents));
  return plans;
}

// The position of each row that a rank holds.
std::vector<int64_t> positions_of(const SequenceLayout& layout, int rank) {
  std::vector<int64_t> out;
  for (const Piece& piece : layout.pieces(rank)) {
    for (int64_t i = piece.begin; i < piece.end; ++i) out.push_back(i);
  }
  return out;
}

// Executes the plan with positions as data: messages between two ranks match in the order in which both list them.
// Returns each rank's halo buffer, which holds positions, or -1 where nothing was written. `impossible` counts the
// ranges that cannot be executed.
std::vector<std::vector<int64_t>> move_rows(const SequenceLayout& layout, const std::vector<HaloPlan>& plans,
                                            int64_t& impossible) {
  std::vector<std::vector<int64_t>> halos;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    const HaloPlan& plan = plans[static_cast<size_t>(rank)];
    std::vector<int64_t> halo(static_cast<size_t>(plan.halo_rows), -1);
    std::vector<size_t> next_send(plans.size());
    const auto write = [&](const HaloRange& source, const HaloRange& target) {
      const std::vector<int64_t> rows = positions_of(layout, source.from);
      const bool within = source.from_local >= 0 && source.from_local + source.size() <= std::ssize(rows) &&
                          target.to_halo >= 0 && target.to_halo + target.size() <= std::ssize(halo);
      if (!within || source.size() != target.size()) {
        ++impossible;
        return;
      }
      for (int64_t i = 0; i < target.size(); ++i) {
        int64_t& row = halo[static_cast<size_t>(target.to_halo + i)];
        impossible += row != -1;
        row = rows[static_cast<size_t>(source.from_local + i)];
      }
    };
    for (const HaloRange& range : plan.receives) {
      if (range.from == rank || range.to != rank) ++impossible;
      const std::vector<HaloRange>& sends = plans[static_cast<size_t>(range.from)].sends;
      size_t& next = next_send[static_cast<size_t>(range.from)];
      while (next < sends.size() && sends[next].to != rank) ++next;
      if (next == sends.size()) {
        ++impossible;
      } else {
        write(sends[next++], range);
      }
    }
    for (const HaloRange& range : plan.copies) {
      if (range.from != rank || range.to != rank) ++impossible;
      write(range, range);
    }
    for (size_t from = 0; from < plans.size(); ++from) {  // every send must have a receive
      const std::vector<HaloRange>& sends = plans[from].sends;
      for (size_t i = next_send[from]; i < sends.size(); ++i) impossible += sends[i].to == rank;
    }
    halos.push_back(std::move(halo));
  }
  return halos;
}

// The number of mistakes in the plans of all ranks; 0 if they are right.
int64_t count_mistakes(const SequenceLayout& layout, int64_t window, const std::vector<int32_t>& documents,
                       const std::vector<HaloPlan>& plans) {
  int64_t mistakes = 0;
  const std::vector<std::vector<int64_t>> halos = move_rows(layout, plans, mistakes);
  PairCounts counts(layout.length());
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    const HaloPlan& plan = plans[static_cast<size_t>(rank)];
    const std::vector<int64_t>& halo = halos[static_cast<size_t>(rank)];
    const Pieces pieces = layout.pieces(rank);
    if (plan.spans.size() != pieces.size()) return mistakes + 1;
    int64_t next_row = 0;
    for (size_t p = 0; p < pieces.size(); ++p) {
      const Piece& piece = pieces[p];
      const HaloSpan& span = plan.spans[p];
      mistakes += span.end != piece.begin || span.halo != next_row;
      next_row += span.size();
      for (int64_t i = 0; i < span.size(); ++i) {
        const int64_t position = halo[static_cast<size_t>(span.halo + i)];
        mistakes += position != span.begin + i;                             // the row is right
        mistakes += !sees(piece.begin, span.begin + i, window, documents);  // and needed: the first query sees it
      }
      counts.visit(piece, piece, window, documents);
      const int64_t queries_end = piece.begin + std::min(window - 1, piece.size());
      for (int64_t i = 0; i < span.size(); ++i) {
        const int64_t position = halo[static_cast<size_t>(span.halo + i)];
        if (position >= 0)
          counts.visit(Piece{piece.begin, queries_end, 0}, Piece{position, position + 1, 0}, window, documents);
      }
    }
    mistakes += next_row != plan.halo_rows;
  }
  return mistakes + counts.wrong_pairs(window, documents);
}

int64_t count_mistakes(const SequenceLayout& layout, int64_t window, const std::vector<int32_t>& documents) {
  return count_mistakes(layout, window, documents, plans_of(layout, window, documents));
}

TEST(HaloPlan, VisitsEveryPairOnceForEveryPatternOfDocuments) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int64_t length = 0; length <= 9; ++length) {
      const SequenceLayout layout(length, ranks);
      for (int64_t window = 1; window <= length + 2; ++window) {
        for (uint64_t boundaries = 0; boundaries < (1u << std::max<int64_t>(length - 1, 0)); ++boundaries) {
          ASSERT_EQ(count_mistakes(layout, window, documents_from_bits(length, boundaries)), 0)
              << length << " over " << ranks << ", window " << window << ", documents " << boundaries;
        }
      }
    }
  }
}

TEST(HaloPlan, VisitsEveryPairOnceForEveryWindow) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int64_t length : {15, 31, 32, 37}) {
      const SequenceLayout layout(length, ranks);
      for (int64_t window = 1; window <= length + 2; ++window) {
        EXPECT_EQ(count_mistakes(layout, window, {}), 0) << length << " over " << ranks << ", window " << window;
        for (uint64_t boundaries : {uint64_t{0x11111111}, uint64_t{1} << 14, uint64_t{0x8040201}}) {
          EXPECT_EQ(count_mistakes(layout, window, documents_from_bits(length, boundaries)), 0)
              << length << " over " << ranks << ", window " << window << ", documents " << boundaries;
        }
      }
    }
  }
}

// Boundaries on, just before and just after each edge of a chunk.
TEST(HaloPlan, DocumentsMayBeginAtChunkEdges) {
  for (int ranks : {2, 3, 4}) {
    const int64_t chunk = 5, length = 2 * ranks * chunk;
    const SequenceLayout layout(length, ranks);
    for (int64_t edge = chunk; edge < length; edge += chunk) {
      for (int64_t boundary : {edge - 1, edge, edge + 1}) {
        for (int64_t window : {int64_t{2}, chunk - 1, chunk, chunk + 1, 3 * chunk}) {
          const std::vector<int32_t> documents = documents_from_bits(length, uint64_t{1} << (boundary - 1));
          EXPECT_EQ(count_mistakes(layout, window, documents), 0);
          if (boundary != edge) continue;
          for (const HaloPlan& plan : plans_of(layout, window, documents)) {
            for (const HaloSpan& span : plan.spans) {
              EXPECT_TRUE(span.end != edge || span.size() == 0) << "a document that begins at a piece needs no halo";
            }
          }
        }
      }
    }
  }
}

// All 2P chunks but the first have a halo, and the halo of chunk P is on its own rank: (2P-2) (window-1) rows are sent.
TEST(HaloPlan, RowsOnTheWireDoNotDependOnTheLength) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int64_t window : {1, 2, 16, 64}) {
      for (int64_t length : {64 * 2 * ranks, 100 * 2 * ranks + 7, 4096 * 2 * ranks}) {
        int64_t sent = 0, received = 0, copied = 0;
        for (const HaloPlan& plan : plans_of(SequenceLayout(length, ranks), window, {})) {
          sent += plan.sent_rows();
          for (const HaloRange& range : plan.receives) received += range.size();
          for (const HaloRange& range : plan.copies) copied += range.size();
        }
        EXPECT_EQ(sent, (2 * ranks - 2) * (window - 1)) << length << " over " << ranks << ", window " << window;
        EXPECT_EQ(received, sent);
        EXPECT_EQ(copied, 0);
      }
    }
  }
}

TEST(HaloPlan, NeighboursExchangeWhenTheWindowFitsAChunk) {
  const HaloPlan plan = make_halo_plan(SequenceLayout(80, 4), 1, 4, {});  // chunks 1: [10, 20) and 6: [60, 70)
  ASSERT_EQ(plan.receives.size(), 2u);
  EXPECT_EQ(plan.receives[0].from, 0);  // of chunk 0
  EXPECT_EQ(plan.receives[0].begin, 7);
  EXPECT_EQ(plan.receives[0].end, 10);
  EXPECT_EQ(plan.receives[1].from, 2);  // of chunk 5
  EXPECT_EQ(plan.receives[1].from_local, 17);
  EXPECT_EQ(plan.receives[1].to_halo, 3);
  ASSERT_EQ(plan.sends.size(), 2u);
  EXPECT_EQ(plan.sends[0].to, 0);  // before chunk 7
  EXPECT_EQ(plan.sends[0].begin, 67);
  EXPECT_EQ(plan.sends[1].to, 2);  // before chunk 2
  EXPECT_EQ(plan.sends[1].begin, 17);
  EXPECT_TRUE(plan.copies.empty());
}

TEST(HaloPlan, RowsOfTheOwnOtherPieceAreCopied) {
  const HaloPlan plan = make_halo_plan(SequenceLayout(16, 2), 0, 14, {});  // chunks 0: [0, 4) and 3: [12, 16)
  ASSERT_EQ(plan.receives.size(), 1u);
  EXPECT_EQ(plan.receives[0].begin, 4);
  EXPECT_EQ(plan.receives[0].end, 12);
  ASSERT_EQ(plan.copies.size(), 1u);
  EXPECT_EQ(plan.copies[0].begin, 0);
  EXPECT_EQ(plan.copies[0].end, 4);
  EXPECT_EQ(plan.halo_rows, 12);
}

TEST(HaloPlan, AWrongPlanIsNoticed) {
  const SequenceLayout layout(40, 4);
  const int64_t window = 7;
  const std::vector<HaloPlan> right = plans_of(layout, window, {});
  ASSERT_EQ(count_mistakes(layout, window, {}, right), 0);
  for (size_t rank = 0; rank < right.size(); ++rank) {
    for (size_t i = 0; i < right[rank].receives.size(); ++i) {
      std::vector<HaloPlan> wrong = right;
      wrong[rank].receives.erase(wrong[rank].receives.begin() + static_cast<ptrdiff_t>(i));
      EXPECT_GT(count_mistakes(layout, window, {}, wrong), 0) << "a range that is never received";
      wrong = right;
      ++wrong[rank].receives[i].begin;
      EXPECT_GT(count_mistakes(layout, window, {}, wrong), 0) << "a row dropped";
      wrong = right;
      ++wrong[rank].receives[i].to_halo;
      EXPECT_GT(count_mistakes(layout, window, {}, wrong), 0) << "rows off by one";
    }
    for (size_t i = 0; i < right[rank].sends.size(); ++i) {
      std::vector<HaloPlan> wrong = right;
      --wrong[rank].sends[i].from_local;
      EXPECT_GT(count_mistakes(layout, window, {}, wrong), 0) << "the wrong rows sent";
      wrong = right;
      wrong[rank].sends.push_back(wrong[rank].sends[i]);
      EXPECT_GT(count_mistakes(layout, window, {}, wrong), 0) << "a range sent twice";
    }
  }
  EXPECT_GT(count_mistakes(layout, window, {}, plans_of(layout, window - 1, {})), 0) << "a window too short";
  EXPECT_GT(count_mistakes(layout, window, {}, plans_of(layout, window + 1, {})), 0) << "a row more than needed";
}

TEST(HaloPlan, RefusesWhatIsNoPlan) {
  const SequenceLayout layout(8, 2);
  EXPECT_THROW(make_halo_plan(layout, 0, 0, {}), std::logic_error);
  EXPECT_THROW(make_halo_plan(layout, 0, 2, {0, 0, 0}), std::logic_error);
  EXPECT_THROW(make_halo_plan(layout, 0, 2, {0, 0, 3, 3, 4, 4, 4, 4}), std::logic_error);
}

}  // namespace
}  // namespace ropewalk
