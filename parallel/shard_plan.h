// Who owns which part of which parameter's master weights and moments (ZeRO-1; Rajbhandari et al., arXiv 1910.02054).
// The parameters that a tensor rank holds lie one after another in one flat buffer; the plan cuts that buffer into one
// consecutive range per rank of the gradient group, at row boundaries of parameters, as evenly as rows allow. So every
// piece of state is a box of a global tensor, and a checkpoint can be read by any other mesh.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/partition.h"

namespace ropewalk {

// One parameter in the flat buffer: `rows` x `columns` elements starting at `offset`.
struct FlatParameter {
  int64_t offset, rows, columns;
};

// The rows [row_begin, row_end) of parameter `parameter`, in the flat buffer at [flat_begin, flat_end).
struct ShardSegment {
  int parameter;
  int64_t row_begin, row_end;
  int64_t flat_begin, flat_end;
};

class ShardPlan {
 public:
  ShardPlan(const std::vector<FlatParameter>& parameters, int ranks);
  const Partition& cut() const { return cut_; }  // of the flat buffer, over the ranks
  const std::vector<ShardSegment>& segments(int rank) const { return segments_[static_cast<size_t>(rank)]; }

 private:
  Partition cut_;
  std::vector<std::vector<ShardSegment>> segments_;
};

}  // namespace ropewalk
