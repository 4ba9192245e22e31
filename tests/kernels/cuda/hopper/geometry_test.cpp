// The work of the blocks of Hopper's attention, and its order, enumerated against the definition of the mask.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "kernels/attention_mask.h"
#include "kernels/cuda/attention/hopper/backward_geometry.h"
#include "kernels/cuda/attention/hopper/schedule.h"
#include "tests/kernels/mixed_precision/documents.h"

namespace ropewalk::cuda_emulated {
namespace {

constexpr int kKeys = 128;

// Whether a row tile sees some, and whether it sees all, of a key tile.
struct Seen {
  bool some = false, all = true;
};

template <int kRows>
class Backward {
 public:
  explicit Backward(const AttentionShape& s)
      : s_(s),
        mask_(s.U, Positions(s.queries), Positions(s.keys), s.sliding ? std::optional<int64_t>(s.window) : std::nullopt,
              s.document_begin),
        queries_(kRows / (s.H / s.G)) {}

  void check() const {
    std::map<int, int> next_key;  // per KV head
    const int64_t blocks = (s_.U + kKeys - 1) / kKeys * s_.G;
    for (int number = 0; number < blocks; ++number) {
      const KeyTile tile = key_tile<kKeys, kRows>(s_, number);
      ASSERT_TRUE(tile.g >= 0 && tile.g < s_.G);
      ASSERT_EQ(tile.u, next_key[tile.g]) << "key tiles of a head must be in order, or blocks would wait for ever";
      ASSERT_EQ(tile.exist, std::min<int64_t>(kKeys, s_.U - tile.u));
      next_key[tile.g] += kKeys;
      check_rows(tile);
      if (testing::Test::HasFatalFailure()) return;
    }
  }

 private:
  void check_rows(const KeyTile& tile) const {
    std::set<int> met;
    for (int i = 0; i < tile.rows.count(); ++i) met.insert(tile.met(i));
    ASSERT_EQ(static_cast<int>(met.size()), tile.rows.count()) << "keys from " << tile.u << " meet a row tile twice";
    for (int row_tile = 0; row_tile * queries_ < s_.T; ++row_tile) {
      const Seen seen = seen_of(row_tile, tile.u);
      ASSERT_EQ(met.contains(row_tile), seen.some) << "keys from " << tile.u << ", tile of rows " << row_tile;
      if (!seen.some) continue;
      ASSERT_EQ(tile.whole.has(row_tile), seen.all) << "keys from " << tile.u << ", tile of rows " << row_tile;
      int before = 0;
      for (int64_t u = 0; u < tile.u; u += kKeys) before += seen_of(row_tile, u).some;
      ASSERT_EQ(tiles_of_keys_before<kKeys>(s_, tile, static_cast<int>(row_tile * queries_)), before)
          << "keys from " << tile.u << ", tile of rows " << row_tile;
      for (int64_t t = row_tile * queries_; t < end_of(row_tile); ++t) {
        const Range exact = in_tile(mask_.of_query(t), tile.u);
        const TileRange keys = keys_in_tile(s_, tile, static_cast<int>(t));
        const Range found{std::max(keys.begin, 0), keys.end};
        ASSERT_EQ(found.empty(), exact.empty()) << "keys from " << tile.u << ", query " << t;
        ASSERT_TRUE(exact.empty() || (found.begin == exact.begin && found.end == exact.end)) << "query " << t;
      }
    }
  }

  int64_t end_of(int row_tile) const { return std::min((row_tile + 1) * queries_, s_.T); }
  Range in_tile(const Range& keys, int64_t u) const {
    return {std::max<int64_t>(keys.begin - u, 0), std::min<int64_t>(keys.end - u, kKeys)};
  }
  Seen seen_of(int row_tile, int64_t u) const {
    Seen seen;
    for (int64_t t = row_tile * queries_; t < end_of(row_tile); ++t) {
      const Range keys = in_tile(mask_.of_query(t), u);
      seen.some |= keys.begin < keys.end;
      seen.all &= keys.begin == 0 && keys.end == kKeys;
    }
    // Where the queries' gap is inside the row tile, the tile also meets the keys between those of its first and last
    // row.
    if (row_tile * queries_ < s_.queries.second && s_.queries.second < end_of(row_tile))
      seen.some |= mask_.of_query(row_tile * queries_).begin < std::min<int64_t>(u + kKeys, s_.U) &&
                   mask_.of_query(end_of(row_tile) - 1).end > u;
    return seen;
  }

  const AttentionShape s_;
  const AttentionMask mask_;
  const int64_t queries_;
};

TEST(HopperGeometry, KeysMeetTheRowsThatSeeThem) {
  constexpr int64_t kFar = 1 << 20;
  const std::vector<std::vector<int64_t>> packings = {
      {}, {0, 1, 5}, {0, 127, 128, 255, 256}, {0, 190}};  // from keys.begin
  const std::vector<std::pair<Positions, Positions>> pairs = {{0, 0},
                                                              {300, 0},
                                                              {170, 130},
                                                              {0, 130},
                                                              {kFar - 30, kFar - 130},
                                                              {kFar + 290, kFar + 1},
                                                              // two runs
                                                              {{50, 30, 200}, {50, 30, 200}},
                                                              {{150, 150, 500}, {0, 150, 0}},
                                                              {700, {10, 130, 150}},
                                                              {{131, 3, 1}, {0, 130, 1}},
                                                              {{50, 30, 300}, 0},
                                                              {{20, 45, 700}, {0, 200, 100}}};
  struct Heads {
    int64_t R, G;
  };
  for (const auto [R, G] : {Heads{1, 1}, Heads{3, 2}, Heads{5, 3}, Heads{32, 5}})
    for (const int64_t T : {1, 40, 300})
      for (const int64_t U : {1, 128, 400, 600})
        for (const auto& [queries, keys] : pairs)
          for (const int64_t window : {0, 1, 64, 129, 300, 1 << 30})
            for (const std::vector<int64_t>& packing : packings) {
              std::vector<int32_t> documents;
              for (const int64_t begin : packing) documents.push_back(static_cast<int32_t>(keys.begin + begin));
              const std::vector<int32_t> begins = document_of_queries(documents, queries, T);
              const AttentionShape s{T,
                                     U,
                                     R * G,
                                     G,
                                     64,
                                     RowPositions(queries),
                                     RowPositions(keys),
                                     window > 0,
                                     static_cast<int>(window),
                                     documents.empty() ? nullptr : begins.data()};
              Backward<128>(s).check();
              Backward<64>(s).check();
              ASSERT_FALSE(HasFailure()) << "R " << R << " G " << G << " T " << T << " U " << U << " q "
                                         << queries.begin << " k " << keys.begin << " window " << window
                                         << " documents " << documents.size();
            }
}

TEST(HopperGeometry, SectionsHaveEachBlockOfRowsOnce) {
  for (const unsigned heads : {1u, 2u, 3u, 5u})
    for (const unsigned row_blocks : {1u, 4u})
      for (unsigned section = 1; section <= heads; ++section) {
        const RowSchedule schedule{row_blocks * heads, row_blocks, heads, section, nullptr};
        std::map<unsigned, unsigned> left;  // per head: row blocks not yet taken
        for (unsigned number = 0; number < schedule.count; ++number) {
          const ScheduledRows block = row_block(schedule, number);
          ASSERT_LT(block.head, heads);
          ASSERT_EQ(block.head / section, number / (row_blocks * section)) << "sections must be in order";
          const unsigned expected = left.try_emplace(block.head, row_blocks).first->second -= 1;
          ASSERT_EQ(block.row_block, expected) << "row blocks that see the most keys must come first";
        }
        ASSERT_EQ(left.size(), heads);
      }
}

TEST(HopperGeometry, NumbersAreTakenOnceInEachLaunch) {
  unsigned taken = 0;
  for (const unsigned blocks : {1u, 2u, 6u})
    for (const unsigned count : {6u, 7u, 40u}) {
      gridDim = {blocks, 1, 1};
      const RowSchedule schedule{count, count, 1, 1, &taken};
      for (int launch = 0; launch < 2; ++launch) {
        std::vector<int> times(count);
        for (unsigned done = 0; done < blocks;) {
          const unsigned number = take_number(schedule);
          number < count ? ++times[number] : ++done;
        }
        EXPECT_EQ(times, std::vector<int>(count, 1));
        EXPECT_EQ(taken, 0u);
      }
    }
}

}  // namespace
}  // namespace ropewalk::cuda_emulated
