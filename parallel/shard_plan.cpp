#include "parallel/shard_plan.h"

#include <algorithm>
#include <numeric>

namespace ropewalk {

std::vector<Box> boxes_of(int64_t begin, int64_t end, int64_t columns) {
  std::vector<Box> boxes;
  const auto within_a_row = [&](int64_t from, int64_t to) {
    const int64_t row = from / columns;
    boxes.push_back({row, row + 1, from - row * columns, to - row * columns});
  };
  if (begin >= end) return boxes;
  const int64_t first_whole = (begin + columns - 1) / columns, wholes_end = end / columns;
  if (first_whole > wholes_end) {  // inside one row
    within_a_row(begin, end);
    return boxes;
  }
  if (begin < first_whole * columns) within_a_row(begin, first_whole * columns);
  if (first_whole < wholes_end) boxes.push_back({first_whole, wholes_end, 0, columns});
  if (wholes_end * columns < end) within_a_row(wholes_end * columns, end);
  return boxes;
}

ShardPlan::ShardPlan(const std::vector<std::vector<int64_t>>& units, int ranks, int64_t least_part)
    : ranks_(ranks), bucket_of_(units.size()) {
  CHECK(ranks > 0 && least_part >= 0, "parts of at least {} elements for {} ranks", least_part, ranks);
  const auto size_of_unit = [&](size_t unit) {
    return std::accumulate(units[unit].begin(), units[unit].end(), int64_t{0});
  };
  // From the last unit to the first, in the order of the backward.
  for (size_t end = units.size(); end > 0;) {
    size_t first = end - 1;
    int64_t filled = size_of_unit(first);
    while (first > 0 && filled < least_part * ranks) filled += size_of_unit(--first);
    buckets_.push_back({first, end, 0, filled, 0});
    end = first;
  }
  std::ranges::reverse(buckets_);

  int64_t at = 0;
  for (size_t index = 0; index < buckets_.size(); ++index) {
    ShardBucket& bucket = buckets_[index];
    const int64_t unit = kAlignment * ranks;
    bucket.begin = at;
    for (size_t u = bucket.first_unit; u < bucket.units_end; ++u) {
      bucket_of_[u] = index;
      first_parameter_.push_back(static_cast<int>(offsets_.size()));
      for (const int64_t size : units[u]) {
        CHECK(size >= 0, "a parameter of {} elements", size);
        offsets_.push_back(at);
        sizes_.push_back(size);
        at += size;
      }
    }
    bucket.filled_end = at;
    at = bucket.end = bucket.begin + (at - bucket.begin + unit - 1) / unit * unit;
  }
  first_parameter_.push_back(static_cast<int>(offsets_.size()));
}

std::vector<ShardSegment> ShardPlan::segments(const ShardBucket& bucket, int rank) const {
  const Partition parts = cut(bucket);
  const int64_t part_begin = bucket.begin + parts.begin(rank), part_end = bucket.begin + parts.end(rank);
  const int64_t shard_begin = bucket.begin / ranks_;
  std::vector<ShardSegment> segments;
  for (int p = first_parameter_[bucket.first_unit]; p < first_parameter_[bucket.units_end]; ++p) {
    const int64_t offset = this->offset(p), size = sizes_[static_cast<size_t>(p)];
    const int64_t begin = std::max(offset, part_begin), end = std::min(offset + size, part_end);
    if (begin < end) segments.push_back({p, begin - offset, end - offset, begin, shard_begin + begin - part_begin});
  }
  return segments;
}

}  // namespace ropewalk
