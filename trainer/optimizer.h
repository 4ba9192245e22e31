// AdamW with its state sharded over the gradient group (ZeRO-1): each rank sums, clips and updates its consecutive
// range of the flat parameter buffer, then all ranks gather the new weights.
#pragma once

#include <optional>

#include "trainer/parameters.h"
#include "trainer/state.h"

namespace ropewalk {

class ShardedOptimizer {
 public:
  // What it refers to must outlive it.
  ShardedOptimizer(const ParameterValues& weights, const ParameterValues& gradients, const TrainingConfig& training,
                   Rank rank);

  // The weights' values become the master weights; the moments are 0.
  void start();

  // Sums the gradients over the mesh: this rank's range of them becomes that of the sum, the rest stays its own.
  void reduce();
  // Norm of the summed gradient over the whole model; the same on all ranks.
  double gradient_norm() const;
  // AdamW on this rank's range: `step` counts from 1; gradients are multiplied by gradient_scale first.
  void update(double rate, int64_t step, double gradient_scale);
  // All ranks' new weights, everywhere.
  void gather();

  std::vector<StateTensor> state() const;  // master weights and moments of this rank's range
  int64_t bytes() const;
  std::vector<StateTensor> gradients() const;  // the summed gradient of this rank's range

 private:
  struct Shard {
    std::unique_ptr<Buffer> buffer;
    Tensor values;
  };
  Shard allocate(DType dtype) const;
  Tensor segment_of(const Tensor& shard, const ShardSegment& segment) const;
  void append(std::vector<StateTensor>& out, const std::string& prefix, const Tensor& shard) const;

  const ParameterTable& table_;
  const ParameterValues &weights_, &gradients_;
  TrainingConfig training_;
  Rank rank_;
  ShardPlan plan_;
  int64_t begin_;  // of this rank's range in the flat buffer
  Shard first_moment_, second_moment_;
  Shard master_storage_;               // only where weights are held in fewer bits than the master weights
  Tensor weight_, gradient_, master_;  // this rank's range
};

}  // namespace ropewalk
