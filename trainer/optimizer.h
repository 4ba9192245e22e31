// AdamW with its state sharded over the gradient group (ZeRO-1): each rank sums, clips and updates its part of every
// bucket of parameters (ShardPlan), and all ranks gather the new weights. Both go on while the rank computes: a
// bucket's sum under the backward of the units before it, its gathering under the forward of these.
#pragma once

#include <memory>
#include <vector>

#include "trainer/checkpoint/state.h"
#include "trainer/model/parameters.h"

namespace ropewalk {

class ShardedOptimizer {
 public:
  // What it refers to must outlive it.
  ShardedOptimizer(const ParameterValues& weights, const ParameterValues& gradients, const TrainingConfig& training,
                   Rank rank);

  // The weights' values become the master weights; the moments are 0.
  void start();

  // The backward is done with a unit, and with those behind it: what is whole begins to be summed over the mesh.
  void start_sum(size_t unit);
  // All sums are there: this rank's part of each bucket has become that of the sum, the rest is its own.
  void finish_sums();
  // Norm of the summed gradient over the whole model; the same on all ranks.
  double gradient_norm() const;
  // AdamW on this rank's part of each bucket, whose new weights then begin to be gathered: `step` counts from 1;
  // gradients are multiplied by gradient_scale first.
  void update(double rate, int64_t step, double gradient_scale);
  // Begins to gather the master weights of all ranks.
  void start_gathering();
  // The weights of a unit are there, of all ranks.
  void finish_gathering(size_t unit);
  void finish_gathering();  // of all units

  std::vector<StateTensor> state() const;  // this rank's master weights and moments
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
  void start_gathering_of(size_t bucket);
  // Visits (parameter, range) of this rank's part of a bucket; parameters next to each other for which like() is the
  // same in one range.
  template <typename Like, typename Visit>
  void for_each_run(const ShardBucket& bucket, Like like, Visit visit) const;
  template <typename Get>
  void append(std::vector<StateTensor>& out, const std::string& prefix, Get get) const;

  const ParameterTable& table_;
  const ParameterValues &weights_, &gradients_;
  TrainingConfig training_;
  Rank rank_;
  Buffered first_moment_, second_moment_;  // this rank's shard
  Buffered master_;  // likewise, only where weights are held in fewer bits than the master weights
  std::vector<std::unique_ptr<Transfer>> sums_, gatherings_;  // by bucket; null: none under way
};

}  // namespace ropewalk
