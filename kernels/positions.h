// The global positions of consecutive rows of a tensor: one run of positions, or two runs with a gap between them, such
// as the two chunks of a sequence that a rank holds (parallel/attention/sequence_layout.h).
#pragma once

#include <cstdint>
#include <limits>

namespace ropewalk {

// Row r is at position  begin + r  if r < second, and at  begin + r + gap  otherwise.
template <typename Int>
struct BasicPositions {
  constexpr BasicPositions(Int begin_ = 0) : begin(begin_) {}  // one run; implicit, as most rows have one
  constexpr BasicPositions(Int begin_, Int second_, Int gap_) : begin(begin_), second(second_), gap(gap_) {}
  // In another type of integers, which must hold them.
  template <typename Other>
  constexpr explicit BasicPositions(const BasicPositions<Other>& x)
      : begin(static_cast<Int>(x.begin)),
        second(x.second == x.kNoSecond ? kNoSecond : static_cast<Int>(x.second)),
        gap(static_cast<Int>(x.gap)) {}

  constexpr Int of(Int row) const { return begin + row + (row < second ? 0 : gap); }
  // The first row at `position` or after it. Rows are counted on beyond both ends of the tensor.
  constexpr Int first_row_from(Int position) const {
    const Int row = position - begin;
    if (row <= second) return row;
    return row - gap > second ? row - gap : second;
  }
  // The positions of the rows from `row` on.
  constexpr BasicPositions from(Int row) const {
    if (row >= second) return of(row);
    return {begin + row, second == kNoSecond ? kNoSecond : second - row, gap};
  }

  static constexpr Int kNoSecond = std::numeric_limits<Int>::max();
  Int begin;
  Int second = kNoSecond;  // the first row of the second run
  Int gap = 0;             // positions between the runs, >= 0
};

using Positions = BasicPositions<int64_t>;

}  // namespace ropewalk
