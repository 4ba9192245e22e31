#include "trainer/model/loss_head.h"

#include <algorithm>

namespace ropewalk {

Tensor LossHead::normed(const ParameterValues& weights, const Tensor& x, int64_t rows, const Tensor& mean,
                        const Tensor& rstd) const {
  const Tensor n = rank_.arena.allocate(rank_.kernels.dtype(), {rows, model_.width});
  rank_.kernels.layer_norm_forward(x, weights[table_.final_norm()], model_.norm_epsilon, region_.outside(n), mean,
                                   rstd);
  region_.enter(n);
  return n;
}

void LossHead::cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                             const Tensor& losses) const {
  Kernels& k = rank_.kernels;
  ArenaScope scratch(rank_.arena);
  const int64_t rows = logits.rows();
  const int ranks = region_.size();
  const Tensor all = rank_.arena.allocate(log_sum.dtype(), {ranks, rows, 3});
  const Partition by_rank = Partition::even(ranks, ranks);
  const Tensor mine = all.slice(rank_.mesh.tensor_rank(), rank_.mesh.tensor_rank() + 1);
  k.cross_entropy_partials(logits, targets, table_[table_.embedding()].box.row_begin, model_.logit_scale,
                           mine.reshape({rows, 3}));
  rank_.mesh.tensor().all_gather(mine, by_rank, all);
  k.cross_entropy_merge(all, targets, log_sum, losses);
}

Tensor LossHead::losses(const ParameterValues& weights, const Sequences& sequences, const Tensor& x) const {
  Kernels& k = rank_.kernels;
  Arena& arena = rank_.arena;
  const DType type = k.dtype(), accumulator = accumulator_of(type);
  const int64_t rows = sequences.targets.rows();
  const Tensor out = arena.allocate(accumulator, {rows});
  ArenaScope scratch(arena);
  const Tensor table = weights[table_.embedding()];
  const Tensor mean = arena.allocate(accumulator, {x.rows()}), rstd = arena.allocate(accumulator, {x.rows()});
  const Tensor n = normed(weights, x, rows, mean, rstd);
  for (int64_t begin = 0; begin < rows; begin += loss_chunk_) {
    ArenaScope chunk(arena);
    const int64_t end = std::min(rows, begin + loss_chunk_);
    const Tensor logits = arena.allocate(type, {end - begin, table.rows()}),
                 log_sum = arena.allocate(accumulator, {end - begin});
    k.linear_forward(n.slice(begin, end), table, logits, Write::kSet);
    cross_entropy(logits, sequences.targets.slice(begin, end), log_sum, out.slice(begin, end));
  }
  return out;
}

Tensor LossHead::forward(const ParameterValues& weights, const Sequences& sequences, const Tensor& x, double loss_scale,
                         LossActivations& saved, const ParameterValues& gradients, Write write) const {
  Kernels& k = rank_.kernels;
  Arena& arena = rank_.arena;
  const DType type = k.dtype(), accumulator = accumulator_of(type);
  const int64_t rows = sequences.targets.rows();
  const Tensor out = arena.allocate(accumulator, {rows});
  saved.x = x;
  saved.mean = arena.allocate(accumulator, {x.rows()});
  saved.rstd = arena.allocate(accumulator, {x.rows()});
  saved.dn = arena.allocate(type, {rows, model_.width});

  ArenaScope scratch(arena);
  const Tensor table = weights[table_.embedding()], dtable = gradients[table_.embedding()];
  const int64_t v_begin = table_[table_.embedding()].box.row_begin;
  const Tensor n = normed(weights, x, rows, saved.mean, saved.rstd);
  if (rows == 0 && write == Write::kSet) k.fill(dtable, 0);
  for (int64_t begin = 0; begin < rows; begin += loss_chunk_) {
    ArenaScope chunk(arena);
    const int64_t end = std::min(rows, begin + loss_chunk_);
    const Tensor n_chunk = n.slice(begin, end), targets = sequences.targets.slice(begin, end);
    const Tensor logits = arena.allocate(type, {end - begin, table.rows()}),
                 log_sum = arena.allocate(accumulator, {end - begin});
    k.linear_forward(n_chunk, table, logits, Write::kSet);
    cross_entropy(logits, targets, log_sum, out.slice(begin, end));
    k.cross_entropy_backward(logits, targets, log_sum, v_begin, model_.logit_scale, loss_scale);
    k.linear_backward_input(logits, table, saved.dn.slice(begin, end), Write::kSet);
    k.linear_backward_weight(logits, n_chunk, dtable, begin == 0 ? write : Write::kAdd);
  }
  return out;
}

Tensor LossHead::backward(const ParameterValues& weights, LossActivations& saved, const ParameterValues& gradients,
                          Write write) const {
  Arena& arena = rank_.arena;
  const Tensor dx = arena.allocate(saved.x.dtype(), saved.x.shape());
  ArenaScope scratch(arena);
  const Tensor dn_here = region_.enter_backward(saved.dn, arena);
  rank_.kernels.layer_norm_backward(dn_here, saved.x, weights[table_.final_norm()], saved.mean, saved.rstd, Tensor(),
                                    dx, gradients[table_.final_norm()], write);
  return dx;
}

std::vector<double> LossHead::logits(const ParameterValues& weights, int64_t rows, const Tensor& x, int64_t row) const {
  Kernels& k = rank_.kernels;
  Arena& arena = rank_.arena;
  const DType accumulator = accumulator_of(k.dtype());
  ArenaScope scratch(arena);
  const Tensor table = weights[table_.embedding()];
  const Tensor mean = arena.allocate(accumulator, {x.rows()}), rstd = arena.allocate(accumulator, {x.rows()});
  const Tensor n = normed(weights, x, rows, mean, rstd).slice(row, row + 1);
  const Partition cut = Partition::even(model_.vocabulary, region_.size());
  const int tensor_rank = rank_.mesh.tensor_rank();
  const Tensor all = arena.allocate(k.dtype(), {model_.vocabulary});
  const Tensor mine = all.slice(cut.begin(tensor_rank), cut.end(tensor_rank));
  k.linear_forward(n, table, mine.reshape({1, mine.rows()}), Write::kSet);
  rank_.mesh.tensor().all_gather(mine, cut, all);
  const Tensor wide = arena.allocate(DType::kF64, all.shape());
  k.cast(all, wide);
  std::vector<double> out(static_cast<size_t>(model_.vocabulary));
  k.download(wide, out.data());
  for (double& logit : out) logit *= model_.logit_scale;
  return out;
}

}  // namespace ropewalk
