// Which keys and tiles attention's device code skips, enumerated on the host against the definition of the mask.
#include "kernels/cuda/attention/tiles.h"

#include <gtest/gtest.h>

#include "kernels/attention_mask.h"
#include "kernels/cuda/attention/geometry.h"
#include "tests/kernels/mixed_precision/documents.h"

namespace ropewalk {
namespace {

constexpr int kTileKeys = 64;

// Each query's keys are those of the mask. A key tile is visited by exactly the queries that see any of it, and is left
// unmasked for exactly those that see all of it.
void check_piece(const cuda_emulated::AttentionShape& s) {
  const AttentionMask mask(s.U, Positions(s.queries), Positions(s.keys),
                           s.sliding ? std::optional<int64_t>(s.window) : std::nullopt, s.document_begin);
  for (int64_t t = 0; t < s.T; ++t) {
    const Range keys = cuda_emulated::keys_of_query(s, t), expected = mask.of_query(t);
    ASSERT_TRUE(keys.empty() == expected.empty()) << "query " << t;
    if (keys.empty()) continue;
    ASSERT_EQ(keys.begin, expected.begin) << "query " << t;
    ASSERT_EQ(keys.end, expected.end) << "query " << t;
  }
  for (int64_t u = 0; u < s.U; u += kTileKeys) {
    const int exist = cuda_emulated::keys_from(s, u, kTileKeys);
    const Range met = cuda_emulated::queries_of_keys(s, u, exist);
    const Range whole = cuda_emulated::queries_of_all_keys(s, u, kTileKeys);
    for (int64_t t = 0; t < s.T; ++t) {
      const Range keys = mask.of_query(t);
      const bool sees = std::max(keys.begin, u) < std::min(keys.end, u + exist);
      ASSERT_EQ(sees, met.begin <= t && t < met.end) << "keys from " << u << ", query " << t;
      ASSERT_EQ(keys.begin <= u && keys.end >= u + kTileKeys, whole.begin <= t && t < whole.end)
          << "all keys from " << u << ", query " << t;
    }
  }
}

TEST(CudaTiles, MeetWhatSeesThemAndNothingElse) {
  const std::vector<std::vector<int32_t>> packings = {{}, {0, 1, 5}, {0, 63, 64, 127, 128}, {0, 190}};
  std::vector<std::pair<Positions, Positions>> pairs = {
      {{50, 30, 200}, {50, 30, 200}}, {{150, 150, 500}, {0, 150, 0}}, {700, {10, 70, 150}}, {{71, 3, 1}, {0, 70, 1}}};
  for (const int64_t q_begin : {0, 70, 300})
    for (const int64_t k_begin : {0, 50, 130}) pairs.emplace_back(q_begin, k_begin);
  for (const int64_t T : {1, 40, 200})
    for (const int64_t U : {1, 63, 64, 150})
      for (const auto& [queries, keys] : pairs)
        for (const int64_t window : {0, 1, 30, 64, 100, 1000})
          for (const std::vector<int32_t>& documents : packings) {
            const std::vector<int32_t> begins = document_of_queries(documents, queries, T);
            check_piece({T, U, 1, 1, 64, cuda_emulated::RowPositions(queries), cuda_emulated::RowPositions(keys),
                         window > 0, static_cast<int>(window), documents.empty() ? nullptr : begins.data()});
            ASSERT_FALSE(HasFailure()) << "T " << T << " U " << U << " q " << queries.begin << " k " << keys.begin
                                       << " window " << window << " documents " << documents.size();
          }
}

template <int K>
void check_moves() {
  for (int row = 0; row < 64; ++row)
    for (int column = 0; column < K; column += 8)
      ASSERT_EQ(cuda_emulated::Tile<K>::moved(2 * cuda_emulated::in_tile<K>(row % 16, column % 16), row / 16 * 16,
                                              column / 16 * 16),
                2 * cuda_emulated::in_tile<K>(row, column))
          << K << " columns: (" << row << ", " << column << ")";
}
TEST(CudaTiles, PlacesAreFixedStepsFromThoseOfTheFirstSixteenRowsAndColumns) {
  check_moves<64>();
  check_moves<128>();
}

}  // namespace
}  // namespace ropewalk
