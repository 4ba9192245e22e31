// Consecutive rows of a rank's tensors, and their positions in the sequence.
#pragma once

#include "kernels/positions.h"
#include "parallel/attention/sequence_layout.h"

namespace ropewalk {

// Rows [local, local + count).
struct LocalRows {
  LocalRows(int64_t local_, int64_t count_, const Positions& positions_)
      : local(local_), count(count_), positions(positions_) {}
  LocalRows(const Piece& piece) : LocalRows(piece.local, piece.size(), piece.begin) {}  // implicit: a piece is rows
  int64_t local, count;
  Positions positions;
};

// Rows [from, to) of `rows`.
inline LocalRows part_of(const LocalRows& rows, int64_t from, int64_t to) {
  return {rows.local + from, to - from, rows.positions.from(from)};
}
// The same positions, `by` rows further on: b * T for sequence b of a micro-batch.
inline LocalRows shifted(const LocalRows& rows, int64_t by) { return {rows.local + by, rows.count, rows.positions}; }

}  // namespace ropewalk
