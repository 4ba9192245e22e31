// A half-open range of rows, columns or keys; rounding up to a multiple.
#pragma once

#include <cstdint>

namespace ropewalk {

struct Range {
  int64_t begin = 0, end = 0;
  constexpr bool empty() const { return begin >= end; }
  constexpr int64_t size() const { return end - begin; }
};

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace ropewalk
