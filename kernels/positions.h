// The global positions of consecutive rows of a tensor: one run of positions, or two runs with a gap between them, such
// as the two chunks of a sequence that a rank holds (parallel/attention/sequence_layout.h).
#pragma once

#include <cstdint>
#include <limits>

namespace ropewalk {

// Row r is at position  begin + r  if r < second, and at  begin + r + gap  otherwise.
struct Positions {
  constexpr Positions(int64_t begin_ = 0) : begin(begin_) {}  // one run; implicit, as most rows have one
  constexpr Positions(int64_t begin_, int64_t second_, int64_t gap_) : begin(begin_), second(second_), gap(gap_) {}

  constexpr int64_t of(int64_t row) const { return begin + row + (row < second ? 0 : gap); }
  // The first row at `position` or after it. Rows are counted on beyond both ends of the tensor.
  constexpr int64_t first_row_from(int64_t position) const {
    const int64_t row = position - begin;
    if (row <= second) return row;
    return row - gap > second ? row - gap : second;
  }
  // The positions of the rows from `row` on.
  constexpr Positions from(int64_t row) const {
    return row < second ? Positions(begin + row, second == kNoSecond ? kNoSecond : second - row, gap)
                        : Positions(of(row));
  }

  static constexpr int64_t kNoSecond = std::numeric_limits<int64_t>::max();
  int64_t begin;
  int64_t second = kNoSecond;  // the first row of the second run
  int64_t gap = 0;             // positions between the runs, >= 0
};

}  // namespace ropewalk
