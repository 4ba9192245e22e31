// AdamW with its state sharded over the gradient group (ZeRO-1): gradients are reduce-scattered, each rank clips and
// updates its part of every bucket of parameters (ShardPlan), and the new weights are all-gathered. Both overlap with
// compute: a bucket's reduce-scatter with the backward of the units before it, its all-gather with the forward of
// these.
#pragma once

#include <memory>
#include <vector>

#include "parallel/rank.h"
#include "trainer/model/parameter_sync.h"
#include "trainer/model/parameters.h"
#include "trainer/model/state_tensor.h"

namespace ropewalk {

class ShardedOptimizer final : public ParameterSync {
 public:
  // What it refers to must outlive it.
  ShardedOptimizer(const ParameterValues& weights, const ParameterValues& gradients, const TrainingConfig& training,
                   Rank rank);

  void zero_moments();

  // Waits until all ranks' parts of the unit's weights have been gathered.
  void before_forward(size_t unit) override;
  // Starts the reduce-scatter of the unit's bucket once all of the bucket's units are done.
  void after_backward(size_t unit) override;
  // Waits for all reduce-scatters: of each bucket of the gradients, this rank's part is summed over the mesh, the rest
  // is still its own.
  void finish_reduce();
  // L2 norm of the summed gradient over the whole model; the same on all ranks.
  double gradient_norm() const;
  // AdamW on this rank's part of each bucket, whose new weights then begin to be gathered: `step` counts from 1;
  // gradients are multiplied by gradient_scale first.
  void update(double rate, int64_t step, double gradient_scale);
  // All-gathers the weights from the master weights of all ranks. update() has started that by itself.
  void start_gather();
  void finish_gather();

  std::vector<StateTensor> master_weights() const;  // this rank's shard
  std::vector<StateTensor> state() const;           // its master weights and moments
  int64_t bytes() const;
  std::vector<StateTensor> gradients() const;  // its part of the summed gradient

 private:
  struct Buffered {
    std::unique_ptr<Buffer> buffer;
    Tensor values;
  };
  // Elements that this rank owns, next to each other: [flat_begin, flat_begin + elements) of the flat buffers.
  struct OwnedRange {
    int64_t flat_begin, shard_begin, elements;
  };

  Buffered allocate_shard(DType dtype) const;
  int here() const { return rank_.mesh.gradient().rank(); }
  Tensor part_of(const Tensor& flat, const ShardBucket& bucket) const;  // this rank's
  Tensor of_shard(const Tensor& shard, const OwnedRange& range) const;
  Tensor of_flat(const Tensor& flat, const OwnedRange& range) const;
  Tensor master(const OwnedRange& range) const;
  void start_gather_of(size_t bucket);  // whose part of the weights here is up to date
  // Visits (parameter, range) of this rank's part of a bucket; parameters next to each other for which like() is the
  // same in one range.
  template <typename Like, typename Visit>
  void for_each_range(const ShardBucket& bucket, Like like, Visit visit) const;
  template <typename Get>
  void append(std::vector<StateTensor>& out, const std::string& prefix, Get get) const;

  const ParameterTable& table_;
  const ParameterValues &weights_, &gradients_;
  TrainingConfig training_;
  Rank rank_;
  Buffered first_moment_, second_moment_;  // this rank's shard
  Buffered master_;  // likewise, only where weights are held in fewer bits than the master weights
  std::vector<std::unique_ptr<Transfer>> reduces_, gathers_;  // by bucket; null: none under way
};

}  // namespace ropewalk
