// A cut of [0, total) into consecutive parts: rows over ranks, tokens over the tensor group, vocabulary rows, chunks.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {

class Partition {
 public:
  // Parts whose sizes differ by at most one: part p is [p * total / parts, (p + 1) * total / parts).
  static Partition even(int64_t total, int parts) {
    CHECK(total >= 0 && parts > 0, "{} elements in {} parts", total, parts);
    Partition out;
    for (int p = 1; p <= parts; ++p) out.offsets_.push_back(total * p / parts);
    return out;
  }
  static Partition of_sizes(const std::vector<int64_t>& sizes) {
    Partition out;
    for (int64_t size : sizes) out.offsets_.push_back(out.offsets_.back() + size);
    return out;
  }

  int parts() const { return static_cast<int>(offsets_.size()) - 1; }
  int64_t total() const { return offsets_.back(); }
  int64_t begin(int part) const { return offsets_[static_cast<size_t>(part)]; }
  int64_t end(int part) const { return offsets_[static_cast<size_t>(part) + 1]; }
  int64_t size(int part) const { return end(part) - begin(part); }

 private:
  std::vector<int64_t> offsets_ = {0};
};

}  // namespace ropewalk
