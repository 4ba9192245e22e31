// Which rank owns which part of each parameter's master weights and moments (ZeRO-1; Rajbhandari et al., arXiv
// 1910.02054), and which parameters a collective moves together.
//
// The parameters of a tensor rank lie one after another in one flat buffer, grouped into units: the parameters that a
// pass uses together (the embedding, a block), in the order of the forward. Consecutive units form buckets. A
// reduce-scatter sums the gradients of a bucket once the backward has finished all units of the bucket, and an
// all-gather brings its weights before the forward uses them. Each bucket is padded, so that every rank of the gradient
// group owns the same number of its elements.
//
//     flat buffer   | embedding ......... pad | block 0 .... | block 1 .... pad | ...
//     buckets       | bucket 0                | bucket 1                        | ...
//     owners        | rank 0 | rank 1 | ...   | rank 0 | rank 1 | ...
//     a rank's shard: its part of each bucket, one after another
//
// Cuts may fall inside a row, so a rank's part of a parameter is up to three boxes (boxes_of). Checkpoints store boxes,
// so any other mesh can read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/partition.h"

namespace ropewalk {

// A block of rows and columns of a tensor [rows, columns]; a vector [columns] counts as one row.
struct Box {
  int64_t row_begin, row_end, column_begin, column_end;
  int64_t rows() const { return row_end - row_begin; }
  int64_t columns() const { return column_end - column_begin; }
  int64_t elements() const { return rows() * columns(); }
  bool operator==(const Box&) const = default;
};

// The elements [begin, end), in row-major order, of a matrix with `columns` columns, as boxes: the rest of a row, whole
// rows, the beginning of a row. Empty boxes are left out.
std::vector<Box> boxes_of(int64_t begin, int64_t end, int64_t columns);

struct ShardBucket {
  size_t first_unit, units_end;
  int64_t begin, filled_end, end;  // in the flat buffer; [filled_end, end) is padding
};

// Elements [begin, end) of a parameter that a rank owns.
struct ShardSegment {
  int parameter;
  int64_t begin, end;
  int64_t flat_begin, shard_begin;  // position of `begin` in the flat buffer, and in the rank's shard
  int64_t elements() const { return end - begin; }
};

class ShardPlan {
 public:
  // A rank's part of a bucket is a multiple of this many elements. So every part begins at a multiple of 128 bytes, in
  // bf16 and in wider types.
  static constexpr int64_t kAlignment = 64;

  // units[u][p]: the number of elements of parameter p of unit u. Buckets are filled from the last unit to the first,
  // in the order of the backward. Each bucket takes units until every rank's part has at least `least_part` elements
  // (0: one unit per bucket). Bucket 0 has the first units and is filled last, so only bucket 0 may have smaller parts.
  ShardPlan(const std::vector<std::vector<int64_t>>& units, int ranks, int64_t least_part);

  int64_t elements() const { return buckets_.empty() ? 0 : buckets_.back().end; }           // of the flat buffer
  int64_t shard_elements() const { return elements() / ranks_; }                            // of every rank
  int64_t offset(int parameter) const { return offsets_[static_cast<size_t>(parameter)]; }  // in the flat buffer
  const std::vector<ShardBucket>& buckets() const { return buckets_; }
  size_t bucket_of(size_t unit) const { return bucket_of_[unit]; }
  // Index of the unit's first parameter; the number of parameters if `unit` is the number of units.
  int first_of_unit(size_t unit) const { return first_parameter_[unit]; }
  Partition cut(const ShardBucket& bucket) const { return Partition::even(bucket.end - bucket.begin, ranks_); }
  // The parts of parameters that `rank` owns in a bucket, in order.
  std::vector<ShardSegment> segments(const ShardBucket& bucket, int rank) const;

 private:
  int ranks_;
  std::vector<int64_t> offsets_, sizes_;  // by parameter
  std::vector<ShardBucket> buckets_;
  std::vector<size_t> bucket_of_;     // by unit
  std::vector<int> first_parameter_;  // of each unit; the last entry is the number of parameters
};

}  // namespace ropewalk
