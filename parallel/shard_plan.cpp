#include "parallel/shard_plan.h"

#include <algorithm>

namespace ropewalk {
namespace {

int64_t elements(const FlatParameter& parameter) { return parameter.rows * parameter.columns; }

int64_t total_elements(const std::vector<FlatParameter>& parameters) {
  int64_t total = 0;
  for (const FlatParameter& parameter : parameters) {
    CHECK(parameter.rows >= 0 && parameter.columns >= 0, "a parameter of {} x {}", parameter.rows, parameter.columns);
    CHECK(parameter.offset == total, "a parameter at {} of the flat buffer, after one that ends at {}",
          parameter.offset, total);
    total += elements(parameter);
  }
  return total;
}

// The row boundary nearest to element `ideal`; the lower one when two are equally near.
int64_t nearest_row_boundary(const std::vector<FlatParameter>& parameters, int64_t ideal) {
  const auto parameter = std::partition_point(parameters.begin(), parameters.end(),
                                              [&](const FlatParameter& p) { return p.offset + elements(p) <= ideal; });
  if (parameter == parameters.end()) return ideal;  // the end of the buffer
  const int64_t within = (ideal - parameter->offset) % parameter->columns;
  return 2 * within <= parameter->columns ? ideal - within : ideal - within + parameter->columns;
}

}  // namespace

ShardPlan::ShardPlan(const std::vector<FlatParameter>& parameters, int ranks) {
  const Partition even = Partition::even(total_elements(parameters), ranks);
  std::vector<int64_t> sizes;
  int64_t begin = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const int64_t end = nearest_row_boundary(parameters, even.end(rank));
    sizes.push_back(end - begin);
    begin = end;
  }
  cut_ = Partition::of_sizes(sizes);

  segments_.resize(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      const FlatParameter& p = parameters[i];
      const int64_t flat_begin = std::max(p.offset, cut_.begin(rank));
      const int64_t flat_end = std::min(p.offset + elements(p), cut_.end(rank));
      if (flat_begin >= flat_end) continue;
      segments_[static_cast<size_t>(rank)].push_back({static_cast<int>(i), (flat_begin - p.offset) / p.columns,
                                                      (flat_end - p.offset) / p.columns, flat_begin, flat_end});
    }
  }
}

}  // namespace ropewalk
