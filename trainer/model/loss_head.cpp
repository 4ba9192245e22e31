#include "trainer/model/loss_head.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace ropewalk {
namespace {

// The numbers of x on the host; empty on a backend that does not compute.
std::vector<double> to_host(const Tensor& x, Kernels& kernels, Arena& arena) {
  ArenaScope scratch(arena);
  const Tensor wide = arena.allocate(DType::kF64, {x.elements()});
  kernels.cast(x.flat(), wide);
  if (!kernels.backend().computes()) return {};
  std::vector<double> out(static_cast<size_t>(x.elements()));
  kernels.download(wide, out.data());
  return out;
}

std::vector<int64_t> rows_with_target(std::span<const int32_t> targets) {
  std::vector<int64_t> rows;
  for (size_t row = 0; row < targets.size(); ++row)
    if (targets[row] >= 0) rows.push_back(static_cast<int64_t>(row));
  return rows;
}

// The rows of which training computes logits: those with a target, unless they are nearly all. The copies of rows are
// worth it only if more is left out than the ends of documents.
std::vector<int64_t> rows_to_train(std::span<const int32_t> targets) {
  std::vector<int64_t> rows = rows_with_target(targets);
  if (8 * rows.size() > 7 * targets.size()) {
    rows.resize(targets.size());
    std::iota(rows.begin(), rows.end(), int64_t{0});
  }
  return rows;
}

// Some rows of tensors, ascending. Consecutive rows are views of the tensor; others have memory of their own from the
// arena. That memory is allocated for both, so that an estimate, in which all rows have a target, covers every set of
// rows.
class RowSet {
 public:
  RowSet(std::span<const int64_t> rows, Kernels& kernels, Arena& arena)
      : rows_(rows), kernels_(kernels), arena_(arena) {}

  int64_t count() const { return std::ssize(rows_); }
  // x[rows]: to read, or to write and then scatter().
  Tensor gather(const Tensor& x) const {
    const Tensor own = room_for(x);
    if (is_view()) return x.slice(rows_.front(), rows_.back() + 1);
    for_each_run([&](int64_t begin, int64_t end, int64_t at) {
      kernels_.copy(x.slice(begin, end), own.slice(at, at + end - begin));
    });
    return own;
  }
  Tensor room_in(const Tensor& x) const {
    const Tensor own = room_for(x);
    return is_view() ? x.slice(rows_.front(), rows_.back() + 1) : own;
  }
  void scatter(const Tensor& values, const Tensor& x) const {  // x[rows] = values, which room_in(x) returned
    if (is_view()) return;
    for_each_run([&](int64_t begin, int64_t end, int64_t at) {
      kernels_.copy(values.slice(at, at + end - begin), x.slice(begin, end));
    });
  }

 private:
  bool is_view() const { return rows_.back() - rows_.front() + 1 == count(); }
  Tensor room_for(const Tensor& x) const {
    return arena_.allocate(x.dtype(), x.shape().rank() == 1 ? Shape{count()} : Shape{count(), x.extent(1)});
  }
  // Calls copy(begin, end, at) for each run of consecutive rows [begin, end), of which the first is rows_[at].
  void for_each_run(const auto& copy) const {
    for (size_t begin = 0, end = 1; begin < rows_.size(); begin = end++) {
      while (end < rows_.size() && rows_[end] == rows_[end - 1] + 1) ++end;
      copy(rows_[begin], rows_[end - 1] + 1, static_cast<int64_t>(begin));
    }
  }

  std::span<const int64_t> rows_;
  Kernels& kernels_;
  Arena& arena_;
};

// Merges row `row` of partials [pieces, rows, 3], as Kernels::cross_entropy_merge, but in fp64.
TargetScore merged(std::span<const double> partials, size_t pieces, size_t rows, size_t row) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0, target = 0;
  for (size_t piece = 0; piece < pieces; ++piece) largest = std::max(largest, partials[3 * (piece * rows + row)]);
  for (size_t piece = 0; piece < pieces; ++piece) {
    const double* const part = &partials[3 * (piece * rows + row)];
    if (part[1] != 0) sum += part[1] * std::exp(part[0] - largest);  // 0: no vocabulary, and the maximum -infinity
    target += part[2];
  }
  return {0, largest - target + std::log(sum), target == largest};
}

}  // namespace

Tensor LossHead::normed(const ParameterValues& weights, const Tensor& x, int64_t rows, const Tensor& mean,
                        const Tensor& rstd) const {
  const Tensor n = rank_.arena.allocate(rank_.kernels.dtype(), {rows, model_.width});
  rank_.kernels.layer_norm_forward(x, weights[table_.final_norm()], model_.norm_epsilon, region_.outside(n), mean,
                                   rstd);
  region_.enter(n);
  return n;
}

Tensor LossHead::partials(const Tensor& logits, const Tensor& targets) const {
  const int64_t rows = logits.rows();
  const int ranks = region_.size();
  const Tensor all = rank_.arena.allocate(accumulator_of(logits.dtype()), {ranks, rows, 3});
  const Tensor mine = all.slice(rank_.mesh.tensor_rank(), rank_.mesh.tensor_rank() + 1);
  rank_.kernels.cross_entropy_partials(logits, targets, table_[table_.embedding()].box.row_begin, model_.logit_scale,
                                       mine.reshape({rows, 3}));
  rank_.mesh.tensor().all_gather(mine, Partition::even(ranks, ranks), all);
  return all;
}

void LossHead::cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                             const Tensor& losses) const {
  ArenaScope scratch(rank_.arena);
  rank_.kernels.cross_entropy_merge(partials(logits, targets), targets, log_sum, losses);
}

std::vector<TargetScore> LossHead::score(const ParameterValues& weights, const Sequences& sequences,
                                         const Tensor& x) const {
  Kernels& k = rank_.kernels;
  Arena& arena = rank_.arena;
  const DType type = k.dtype(), accumulator = accumulator_of(type);
  ArenaScope scratch(arena);
  const Tensor table = weights[table_.embedding()];
  const Tensor mean = arena.allocate(accumulator, {x.rows()}), rstd = arena.allocate(accumulator, {x.rows()});
  const Tensor n = normed(weights, x, sequences.targets.rows(), mean, rstd);
  const std::vector<int64_t> rows = rows_with_target(sequences.targets_on_host);  // the same on all tensor ranks
  std::vector<TargetScore> out;
  for (std::span<const int64_t> rest = rows; !rest.empty();) {
    ArenaScope chunk(arena);
    const auto now = rest.first(std::min(rest.size(), static_cast<size_t>(loss_chunk_)));
    rest = rest.subspan(now.size());
    const RowSet set(now, k, arena);
    const Tensor logits = arena.allocate(type, {set.count(), table.rows()});
    k.linear_forward(set.gather(n), table, logits, Write::kSet);
    const std::vector<double> parts = to_host(partials(logits, set.gather(sequences.targets)), k, arena);
    for (size_t i = 0; i < now.size() && !parts.empty(); ++i) {
      out.push_back(merged(parts, static_cast<size_t>(region_.size()), now.size(), i));
      out.back().row = now[i];
    }
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
  const std::vector<int64_t> wanted = rows_to_train(sequences.targets_on_host);  // the same on all tensor ranks
  if (std::ssize(wanted) < rows) {                                               // what the others have
    k.fill(out, 0);
    k.fill(saved.dn, 0);
  }
  if (wanted.empty() && write == Write::kSet) k.fill(dtable, 0);
  for (std::span<const int64_t> rest = wanted; !rest.empty(); write = Write::kAdd) {
    ArenaScope chunk(arena);
    const auto now = rest.first(std::min(rest.size(), static_cast<size_t>(loss_chunk_)));
    rest = rest.subspan(now.size());
    const RowSet set(now, k, arena);
    const Tensor n_chunk = set.gather(n), targets = set.gather(sequences.targets), losses = set.room_in(out),
                 dn = set.room_in(saved.dn);
    const Tensor logits = arena.allocate(type, {set.count(), table.rows()}),
                 log_sum = arena.allocate(accumulator, {set.count()});
    k.linear_forward(n_chunk, table, logits, Write::kSet);
    cross_entropy(logits, targets, log_sum, losses);
    k.cross_entropy_backward(logits, targets, log_sum, v_begin, model_.logit_scale, loss_scale);
    k.linear_backward_input(logits, table, dn, Write::kSet);
    k.linear_backward_weight(logits, n_chunk, dtable, write);
    set.scatter(losses, out);
    set.scatter(dn, saved.dn);
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
  std::vector<double> out = to_host(all, k, arena);
  for (double& logit : out) logit *= model_.logit_scale;
  return out;
}

}  // namespace ropewalk
