// A cut of [0, total) into consecutive parts: rows over ranks, tokens over the tensor group, vocabulary rows, chunks.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {

class Partition {
 public:
  Partition() = default;  // no parts, total 0
  // Parts whose sizes differ by at most one: part p is [p * total / parts, (p + 1) * total / parts). Takes no memory.
  static Partition even(int64_t total, int parts) {
    CHECK(total >= 0 && parts > 0, "{} elements in {} parts", total, parts);
    return Partition(total, parts, {});
  }
  static Partition of_sizes(const std::vector<int64_t>& sizes) {
    std::vector<int64_t> offsets = {0};
    for (int64_t size : sizes) offsets.push_back(offsets.back() + size);
    const int64_t total = offsets.back();
    return Partition(total, static_cast<int>(sizes.size()), std::move(offsets));
  }

  int parts() const { return parts_; }
  int64_t total() const { return total_; }
  int64_t begin(int part) const {
    return offsets_.empty() ? total_ * part / parts_ : offsets_[static_cast<size_t>(part)];
  }
  int64_t end(int part) const { return begin(part + 1); }
  int64_t size(int part) const { return end(part) - begin(part); }
  // Whether the cut is even() and all parts have the same size. Always false for of_sizes(): it does not compare sizes.
  bool is_equal() const { return offsets_.empty() && total_ % parts_ == 0; }

 private:
  Partition(int64_t total, int parts, std::vector<int64_t> offsets)
      : total_(total), parts_(parts), offsets_(std::move(offsets)) {}

  int64_t total_ = 0;
  int parts_ = 0;
  std::vector<int64_t> offsets_;  // where each part begins, and the last ends; empty: the cut is even
};

}  // namespace ropewalk
