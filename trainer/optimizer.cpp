#include "trainer/optimizer.h"

#include <cmath>

namespace ropewalk {
namespace {

void finish(std::unique_ptr<Transfer>& transfer) {
  if (!transfer) return;
  transfer->wait();
  transfer.reset();
}

}  // namespace

ShardedOptimizer::ShardedOptimizer(const ParameterValues& weights, const ParameterValues& gradients,
                                   const TrainingConfig& training, Rank rank)
    : table_(weights.table()),
      weights_(weights),
      gradients_(gradients),
      training_(training),
      rank_(rank),
      reduces_(table_.shards().buckets().size()),
      gathers_(reduces_.size()) {
  const DType type = weights.flat().dtype(), accumulator = accumulator_of(type);
  first_moment_ = allocate_shard(accumulator);
  second_moment_ = allocate_shard(accumulator);
  if (type == accumulator) return;
  master_ = allocate_shard(accumulator);
  rank_.kernels.fill(master_.values, 0);  // the padding, too
}

ShardedOptimizer::Buffered ShardedOptimizer::allocate_shard(DType dtype) const {
  const int64_t elements = table_.shards().shard_elements();
  auto buffer = rank_.kernels.allocate(elements * size_of(dtype));
  const Tensor values(buffer->data(), dtype, rank_.kernels.device(), {elements});
  return {std::move(buffer), values};
}

int64_t ShardedOptimizer::bytes() const {
  int64_t total = 0;
  for (const Buffered* shard : {&first_moment_, &second_moment_, &master_})
    if (shard->buffer) total += shard->values.bytes();
  return total;
}

Tensor ShardedOptimizer::part_of(const Tensor& flat, const ShardBucket& bucket) const {
  const Partition cut = table_.shards().cut(bucket);
  return flat.slice(bucket.begin + cut.begin(here()), bucket.begin + cut.end(here()));
}

Tensor ShardedOptimizer::of_shard(const Tensor& shard, const OwnedRange& range) const {
  return shard.slice(range.shard_begin, range.shard_begin + range.elements);
}

Tensor ShardedOptimizer::of_flat(const Tensor& flat, const OwnedRange& range) const {
  return flat.slice(range.flat_begin, range.flat_begin + range.elements);
}

Tensor ShardedOptimizer::master(const OwnedRange& range) const {
  return master_.buffer ? of_shard(master_.values, range) : of_flat(weights_.flat(), range);
}

template <typename Like, typename Visit>
void ShardedOptimizer::for_each_range(const ShardBucket& bucket, Like like, Visit visit) const {
  const std::vector<ShardSegment> segments = table_.shards().segments(bucket, here());
  for (size_t i = 0; i < segments.size();) {
    const Parameter& first = table_[segments[i].parameter];
    OwnedRange range{segments[i].flat_begin, segments[i].shard_begin, 0};
    for (; i < segments.size() && like(table_[segments[i].parameter]) == like(first); ++i)
      range.elements += segments[i].elements();
    visit(first, range);
  }
}

void ShardedOptimizer::zero_moments() {
  rank_.kernels.fill(first_moment_.values, 0);
  rank_.kernels.fill(second_moment_.values, 0);
}

void ShardedOptimizer::before_forward(size_t unit) { finish(gathers_[table_.shards().bucket_of(unit)]); }

void ShardedOptimizer::after_backward(size_t unit) {
  const size_t index = table_.shards().bucket_of(unit);
  const ShardBucket& bucket = table_.shards().buckets()[index];
  if (unit != bucket.first_unit) return;
  for (int i = table_.first_of_unit(bucket.first_unit); i < table_.first_of_unit(bucket.units_end); ++i) {
    const GradientSum sum = table_[i].gradient_sum;
    if (sum == GradientSum::kTensor) rank_.mesh.tensor().all_reduce(gradients_[i], Reduction::kSum);
    if (sum == GradientSum::kKeyReplicas) rank_.mesh.key_replicas().all_reduce(gradients_[i], Reduction::kSum);
  }
  finish(reduces_[index]);
  reduces_[index] =
      rank_.mesh.gradient().start_reduce_scatter(gradients_.flat().slice(bucket.begin, bucket.end),
                                                 table_.shards().cut(bucket), part_of(gradients_.flat(), bucket));
}

void ShardedOptimizer::finish_reduce() {
  for (size_t bucket = reduces_.size(); bucket-- > 0;)
    finish(reduces_[bucket]);  // in the order in which they were started
}

double ShardedOptimizer::gradient_norm() const {
  double squares = 0;
  for (const ShardBucket& bucket : table_.shards().buckets())
    for_each_range(
        bucket, [](const Parameter& p) { return p.is_primary_replica; },
        [&](const Parameter& p, const OwnedRange& range) {
          if (p.is_primary_replica) squares += rank_.kernels.sum_of_squares(of_flat(gradients_.flat(), range));
        });
  return std::sqrt(sum_of(rank_.mesh.world(), squares));
}

void ShardedOptimizer::update(double rate, int64_t step, double gradient_scale) {
  finish_gather();  // the update writes the weights that it sends
  AdamWStep adamw{rate, training_.beta1, training_.beta2, training_.epsilon, 0, step, gradient_scale};
  for (size_t index = 0; index < gathers_.size(); ++index) {  // in the order of the forward
    for_each_range(
        table_.shards().buckets()[index], [](const Parameter& p) { return p.is_matrix; },
        [&](const Parameter& p, const OwnedRange& range) {
          adamw.weight_decay = p.is_matrix ? training_.weight_decay : 0;
          const Tensor narrow = master_.buffer ? of_flat(weights_.flat(), range) : Tensor();
          rank_.kernels.adamw(master(range), of_flat(gradients_.flat(), range), of_shard(first_moment_.values, range),
                              of_shard(second_moment_.values, range), narrow, adamw);
        });
    start_gather_of(index);
  }
}

void ShardedOptimizer::start_gather() {
  finish_gather();
  for (size_t index = 0; index < gathers_.size(); ++index) {
    if (master_.buffer) {
      const ShardBucket& bucket = table_.shards().buckets()[index];
      const Tensor mine = part_of(weights_.flat(), bucket);
      const int64_t begin = bucket.begin / rank_.mesh.gradient().size();
      rank_.kernels.cast(master_.values.slice(begin, begin + mine.elements()), mine);
    }
    start_gather_of(index);
  }
}

void ShardedOptimizer::start_gather_of(size_t index) {
  const ShardBucket& bucket = table_.shards().buckets()[index];
  gathers_[index] = rank_.mesh.gradient().start_all_gather(
      part_of(weights_.flat(), bucket), table_.shards().cut(bucket), weights_.flat().slice(bucket.begin, bucket.end));
}

void ShardedOptimizer::finish_gather() {
  for (auto& gather : gathers_) finish(gather);
}

// Appends this rank's part of each parameter, in boxes.
template <typename Get>
void ShardedOptimizer::append(std::vector<StateTensor>& out, const std::string& prefix, Get get) const {
  for (const ShardBucket& bucket : table_.shards().buckets())
    for (const ShardSegment& segment : table_.shards().segments(bucket, here())) {
      const Parameter& p = table_[segment.parameter];
      OwnedRange range{segment.flat_begin, segment.shard_begin, 0};
      for (const Box& part : boxes_of(segment.begin, segment.end, p.box.columns())) {
        const Box box{p.box.row_begin + part.row_begin, p.box.row_begin + part.row_end,
                      p.box.column_begin + part.column_begin, p.box.column_begin + part.column_end};
        range.elements = box.elements();
        out.push_back({prefix + p.name, p.shape, box, get(range), p.is_primary_replica});
        range.flat_begin += range.elements;
        range.shard_begin += range.elements;
      }
    }
}

std::vector<StateTensor> ShardedOptimizer::master_weights() const {
  std::vector<StateTensor> out;
  append(out, "", [&](const OwnedRange& range) { return master(range); });
  return out;
}

std::vector<StateTensor> ShardedOptimizer::state() const {
  std::vector<StateTensor> out = master_weights();
  append(out, "optimizer.m.", [&](const OwnedRange& range) { return of_shard(first_moment_.values, range); });
  append(out, "optimizer.v.", [&](const OwnedRange& range) { return of_shard(second_moment_.values, range); });
  return out;
}

std::vector<StateTensor> ShardedOptimizer::gradients() const {
  std::vector<StateTensor> out;
  append(out, "", [&](const OwnedRange& range) { return of_flat(gradients_.flat(), range); });
  return out;
}

}  // namespace ropewalk
