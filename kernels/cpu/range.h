// A range of rows, columns or keys.
#pragma once

#include <cstdint>

namespace ropewalk {

struct Range {
  int64_t begin = 0, end = 0;
  bool empty() const { return begin >= end; }
  int64_t size() const { return end - begin; }
};

}  // namespace ropewalk
