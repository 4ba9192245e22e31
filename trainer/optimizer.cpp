#include "trainer/optimizer.h"

#include <cmath>

namespace ropewalk {

ShardedOptimizer::ShardedOptimizer(const ParameterValues& weights, const ParameterValues& gradients,
                                   const TrainingConfig& training, Rank rank)
    : table_(weights.table()),
      weights_(weights),
      gradients_(gradients),
      training_(training),
      rank_(rank),
      plan_(table_.flat(), rank.mesh.gradient().size()) {
  const int here = rank.mesh.gradient().rank();
  begin_ = plan_.cut().begin(here);
  const DType type = weights.flat().dtype(), accumulator = accumulator_of(type);
  first_moment_ = allocate(accumulator);
  second_moment_ = allocate(accumulator);
  weight_ = weights.flat().slice(begin_, plan_.cut().end(here));
  gradient_ = gradients.flat().slice(begin_, plan_.cut().end(here));
  if (type != accumulator) master_storage_ = allocate(accumulator);
  master_ = master_storage_.buffer ? master_storage_.values : weight_;
}

void ShardedOptimizer::start() {
  rank_.kernels.fill(first_moment_.values, 0);
  rank_.kernels.fill(second_moment_.values, 0);
  if (master_storage_.buffer) rank_.kernels.cast(weight_, master_);
}

int64_t ShardedOptimizer::bytes() const {
  int64_t total = 0;
  for (const Shard* shard : {&first_moment_, &second_moment_, &master_storage_})
    if (shard->buffer) total += shard->values.bytes();
  return total;
}

ShardedOptimizer::Shard ShardedOptimizer::allocate(DType dtype) const {
  const int64_t elements = plan_.cut().size(rank_.mesh.gradient().rank());
  auto buffer = rank_.kernels.allocate(elements * size_of(dtype));
  const Tensor values(buffer->data(), dtype, rank_.kernels.device(), {elements});
  return {std::move(buffer), values};
}

void ShardedOptimizer::reduce() {
  for (int index = 0; index < static_cast<int>(table_.all().size()); ++index) {
    const GradientSum sum = table_[index].gradient_sum;
    if (sum == GradientSum::kTensor) rank_.mesh.tensor().all_reduce(gradients_[index], Reduction::kSum);
    if (sum == GradientSum::kKeyReplicas) rank_.mesh.key_replicas().all_reduce(gradients_[index], Reduction::kSum);
  }
  rank_.mesh.gradient().reduce_scatter(gradients_.flat(), plan_.cut(), gradient_);
}

double ShardedOptimizer::gradient_norm() const {
  double squares = 0;
  for (const ShardSegment& segment : plan_.segments(rank_.mesh.gradient().rank()))
    if (table_[segment.parameter].counted) squares += rank_.kernels.sum_of_squares(segment_of(gradient_, segment));
  return std::sqrt(sum_of(rank_.mesh.world(), squares));
}

void ShardedOptimizer::update(double rate, int64_t step, double gradient_scale) {
  AdamWStep adamw{rate, training_.beta1, training_.beta2, training_.epsilon, 0, step, gradient_scale};
  for (const ShardSegment& segment : plan_.segments(rank_.mesh.gradient().rank())) {
    adamw.weight_decay = table_[segment.parameter].is_norm ? 0 : training_.weight_decay;
    rank_.kernels.adamw(segment_of(master_, segment), segment_of(gradient_, segment),
                        segment_of(first_moment_.values, segment), segment_of(second_moment_.values, segment), adamw);
  }
}

void ShardedOptimizer::gather() {
  if (master_storage_.buffer) rank_.kernels.cast(master_, weight_);
  rank_.mesh.gradient().all_gather(weight_, plan_.cut(), weights_.flat());
}

Tensor ShardedOptimizer::segment_of(const Tensor& shard, const ShardSegment& segment) const {
  return shard.slice(segment.flat_begin - begin_, segment.flat_end - begin_);
}

void ShardedOptimizer::append(std::vector<StateTensor>& out, const std::string& prefix, const Tensor& shard) const {
  for (const ShardSegment& segment : plan_.segments(rank_.mesh.gradient().rank())) {
    const Parameter& p = table_[segment.parameter];
    Box box = p.box;
    box.row_begin = p.box.row_begin + segment.row_begin;
    box.row_end = p.box.row_begin + segment.row_end;
    out.push_back({prefix + p.name, p.shape, box, segment_of(shard, segment), p.counted});
  }
}

std::vector<StateTensor> ShardedOptimizer::state() const {
  std::vector<StateTensor> out;
  append(out, "", master_);
  append(out, "optimizer.m.", first_moment_.values);
  append(out, "optimizer.v.", second_moment_.values);
  return out;
}

std::vector<StateTensor> ShardedOptimizer::gradients() const {
  std::vector<StateTensor> out;
  append(out, "", gradient_);
  return out;
}

}  // namespace ropewalk
