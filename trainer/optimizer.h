// AdamW with its state sharded over the gradient group (ZeRO-1): gradients are reduce-scattered, each rank clips and
// updates its part of every bucket of parameters (ShardPlan), and the new weights are all-gathered. Both collectives
// overlap with compute: a bucket's reduce-scatter with the backward of the units that precede it in the model, its
// all-gather with their forward.
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
  // The arguments, and the objects that `rank` refers to, must outlive this; `training` is copied.
  ShardedOptimizer(const ParameterValues& weights, const ParameterValues& gradients, const TrainingConfig& training,
                   Rank rank);

  void zero_moments();

  // Waits for the all-gather of the weights of the unit's bucket.
  void before_forward(size_t unit) override;
  // Once all units of the unit's bucket are done: all-reduces the gradients that need it (GradientSum), and starts the
  // bucket's reduce-scatter.
  void after_backward(size_t unit) override;
  // Waits for all reduce-scatters. In each bucket of the gradients, this rank's part is then the sum over the gradient
  // group; the rest still holds the local gradients.
  void finish_reduce();
  // L2 norm of the summed gradient over the whole model; the same on all ranks.
  double gradient_norm() const;
  // AdamW on this rank's part of each bucket; starts the all-gather of each bucket's new weights. `step` counts from 1;
  // gradients are multiplied by gradient_scale first.
  void update(double rate, int64_t step, double gradient_scale);
  // Starts the all-gather of the weights from the master weights of all ranks, after those were drawn or loaded;
  // update() starts its own.
  void start_gather();
  void finish_gather();  // waits for all of them

  std::vector<StateTensor> master_weights() const;  // this rank's shard
  std::vector<StateTensor> state() const;           // this rank's master weights and moments
  int64_t bytes() const;                            // of this rank's optimizer state
  std::vector<StateTensor> gradients() const;       // this rank's part of the summed gradient

 private:
  struct Buffered {
    std::unique_ptr<Buffer> buffer;
    Tensor values;
  };
  // Adjacent elements that this rank owns: [flat_begin, flat_begin + elements) of the flat buffers, which are
  // [shard_begin, shard_begin + elements) of its shard.
  struct OwnedRange {
    int64_t flat_begin, shard_begin, elements;
  };

  Buffered allocate_shard(DType dtype) const;
  int here() const { return rank_.mesh.gradient().rank(); }
  Tensor part_of(const Tensor& flat, const ShardBucket& bucket) const;  // this rank's part
  Tensor of_shard(const Tensor& shard, const OwnedRange& range) const;
  Tensor of_flat(const Tensor& flat, const OwnedRange& range) const;
  Tensor master(const OwnedRange& range) const;
  void start_gather_of(size_t bucket);  // this rank's part of the bucket's weights must be up to date
  // Calls visit(parameter, range) for this rank's part of a bucket. Adjacent parameters with equal like() are merged
  // into one range; `parameter` is the first of them.
  template <typename Like, typename Visit>
  void for_each_range(const ShardBucket& bucket, Like like, Visit visit) const;
  template <typename Get>
  void append(std::vector<StateTensor>& out, const std::string& prefix, Get get) const;

  const ParameterTable& table_;
  const ParameterValues &weights_, &gradients_;
  TrainingConfig training_;
  Rank rank_;
  Buffered first_moment_, second_moment_;                     // this rank's shard
  Buffered master_;                                           // likewise; only if the weights have a narrower type
  std::vector<std::unique_ptr<Transfer>> reduces_, gathers_;  // by bucket; null: none in flight
};

}  // namespace ropewalk
