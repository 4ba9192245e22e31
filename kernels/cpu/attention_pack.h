// What attention's forward and backward share: the order of rows in a tile, and copies of the keys that make products
// fast.
#pragma once

#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/scratch.h"

namespace ropewalk {

inline constexpr int64_t kKeysPerTile = 128;
inline constexpr int64_t kRowsPerTile = 96;

// The rows of a tile are (t, r): query t of the r-th of the R heads that read one key head, so that they share its
// products.
struct AttentionRows {
  explicit AttentionRows(const AttentionSizes& sizes)
      : H(sizes.H), K(sizes.K), R(H / sizes.G), queries(std::max<int64_t>(1, kRowsPerTile / R)), count(queries * R) {}

  // Where row (t, 0) of key head g is, in units of rows, in a tensor [T, H, ...].
  int64_t at(int64_t t, int64_t g) const { return t * H + g * R; }

  int64_t H, K, R;
  int64_t queries, count;  // of a tile
};

// Keys or values held transposed: products with a plain right side are oneDNN's fastest. Block b is [K, kKeysPerTile],
// its columns the rows from b * kKeysPerTile on of one key head.
class TransposedKeys {
 public:
  static int64_t floats(const AttentionSizes& s) { return (s.U / kKeysPerTile + 1) * kKeysPerTile * s.K; }

  TransposedKeys(Scratch& scratch, const AttentionSizes& s) : s_(s), data_(scratch.take(floats(s))) {}

  // From the rows `visible` of key head g of x [U, G, K]; no others are read.
  void pack(const float* x, int64_t g, VisibleKeys visible);
  // The columns from u on, in rows kKeysPerTile apart.
  const float* columns(int64_t u) const { return data_ + u / kKeysPerTile * kKeysPerTile * s_.K + u % kKeysPerTile; }

 private:
  AttentionSizes s_;
  float* data_;
};

// Documents must begin in order and not after their queries, or the tiles would be wrong.
void check_documents(const AttentionSizes& s, const AttentionSpan& span);

// The keys that any of the queries sees; T > 0.
inline VisibleKeys visible_to_any(const AttentionSizes& s, const AttentionMask& mask) {
  return {mask.of_query(0).begin, mask.of_query(s.T - 1).end};
}

}  // namespace ropewalk
