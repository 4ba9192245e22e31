#include "trainer/model/loss_head.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "trainer/model/host_numbers.h"

namespace ropewalk {
namespace {

// Rows of a tensor. The rows of a long sequence are not listed if they are all of them.
struct Rows {
  int64_t count;
  std::vector<int64_t> listed;  // ascending; empty: rows 0 to count - 1
};

// targets: on the host; empty for an estimate, in which every row has a target.
Rows rows_with_target(std::span<const int32_t> targets, int64_t rows) {
  if (targets.empty()) return {rows, {}};
  std::vector<int64_t> listed;
  for (size_t row = 0; row < targets.size(); ++row)
    if (targets[row] >= 0) listed.push_back(static_cast<int64_t>(row));
  return {std::ssize(listed), std::move(listed)};
}

// The rows of which training computes logits: those with a target, unless they are nearly all. The copies of rows are
// worth it only if more is left out than the ends of documents.
Rows rows_to_train(std::span<const int32_t> targets, int64_t rows) {
  Rows wanted = rows_with_target(targets, rows);
  if (8 * wanted.count > 7 * rows) return {rows, {}};
  return wanted;
}

// Some rows of tensors, ascending. Consecutive rows are views of the tensor; others have memory of their own from the
// arena. That memory is allocated for both, so that an estimate, in which all rows have a target, covers every set of
// rows.
class RowSet {
 public:
  // The begin-th to the (end - 1)-th of `rows`; at least one.
  RowSet(const Rows& rows, int64_t begin, int64_t end, Kernels& kernels, Arena& arena)
      : rows_(rows), begin_(begin), count_(end - begin), kernels_(kernels), arena_(arena) {}

  int64_t count() const { return count_; }
  int64_t operator[](int64_t i) const {
    return rows_.listed.empty() ? begin_ + i : rows_.listed[static_cast<size_t>(begin_ + i)];
  }
  // x[rows]: to read, or to write and then scatter().
  Tensor gather(const Tensor& x) const {
    const Tensor own = room_for(x);
    if (is_view()) return x.slice((*this)[0], (*this)[count_ - 1] + 1);
    for_each_run([&](int64_t begin, int64_t end, int64_t at) {
      kernels_.copy(x.slice(begin, end), own.slice(at, at + end - begin));
    });
    return own;
  }
  Tensor room_in(const Tensor& x) const {
    const Tensor own = room_for(x);
    return is_view() ? x.slice((*this)[0], (*this)[count_ - 1] + 1) : own;
  }
  void scatter(const Tensor& values, const Tensor& x) const {  // x[rows] = values, which room_in(x) returned
    if (is_view()) return;
    for_each_run([&](int64_t begin, int64_t end, int64_t at) {
      kernels_.copy(values.slice(at, at + end - begin), x.slice(begin, end));
    });
  }

 private:
  bool is_view() const { return (*this)[count_ - 1] - (*this)[0] + 1 == count_; }
  Tensor room_for(const Tensor& x) const {
    return arena_.allocate(x.dtype(), x.shape().rank() == 1 ? Shape{count()} : Shape{count(), x.extent(1)});
  }
  // Calls copy(begin, end, at) for each run of consecutive rows [begin, end), of which the first is the at-th here.
  void for_each_run(const auto& copy) const {
    for (int64_t begin = 0, end = 1; begin < count_; begin = end++) {
      while (end < count_ && (*this)[end] == (*this)[end - 1] + 1) ++end;
      copy((*this)[begin], (*this)[end - 1] + 1, begin);
    }
  }

  const Rows& rows_;
  int64_t begin_, count_;
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
  // The same on all tensor ranks.
  const Rows rows = rows_with_target(sequences.targets_on_host, sequences.targets.rows());
  std::vector<TargetScore> out;
  for (int64_t begin = 0; begin < rows.count; begin += loss_chunk_) {
    ArenaScope chunk(arena);
    const RowSet set(rows, begin, std::min(rows.count, begin + loss_chunk_), k, arena);
    const Tensor logits = arena.allocate(type, {set.count(), table.rows()});
    k.linear_forward(set.gather(n), table, logits, Write::kSet);
    const std::vector<double> parts = to_host(partials(logits, set.gather(sequences.targets)), k, arena);
    for (int64_t i = 0; i < set.count() && !parts.empty(); ++i) {
      out.push_back(
          merged(parts, static_cast<size_t>(region_.size()), static_cast<size_t>(set.count()), static_cast<size_t>(i)));
      out.back().row = set[i];
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
  const Rows wanted = rows_to_train(sequences.targets_on_host, rows);  // the same on all tensor ranks
  if (wanted.count < rows) {                                           // what the others have
    k.fill(out, 0);
    k.fill(saved.dn, 0);
  }
  if (wanted.count == 0 && write == Write::kSet) k.fill(dtable, 0);
  for (int64_t begin = 0; begin < wanted.count; begin += loss_chunk_, write = Write::kAdd) {
    ArenaScope chunk(arena);
    const RowSet set(wanted, begin, std::min(wanted.count, begin + loss_chunk_), k, arena);
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

std::vector<double> LossHead::logits(const ParameterValues& weights, int64_t rows, const Tensor& x,
                                     Range wanted) const {
  Kernels& k = rank_.kernels;
  Arena& arena = rank_.arena;
  const DType accumulator = accumulator_of(k.dtype());
  ArenaScope scratch(arena);
  const Tensor table = weights[table_.embedding()];
  const Tensor mean = arena.allocate(accumulator, {x.rows()}), rstd = arena.allocate(accumulator, {x.rows()});
  const Tensor n = normed(weights, x, rows, mean, rstd).slice(wanted.begin, wanted.end);
  // The ranks' parts of the vocabulary one after another, each [wanted.size(), columns].
  const int64_t V = model_.vocabulary;
  const Partition cut = Partition::even(V, region_.size());
  std::vector<int64_t> sizes;
  for (int part = 0; part < cut.parts(); ++part) sizes.push_back(wanted.size() * cut.size(part));
  const Partition parts = Partition::of_sizes(sizes);
  const int tensor_rank = rank_.mesh.tensor_rank();
  const Tensor all = arena.allocate(k.dtype(), {parts.total()});
  const Tensor mine = all.slice(parts.begin(tensor_rank), parts.end(tensor_rank));
  k.linear_forward(n, table, mine.reshape({wanted.size(), table.rows()}), Write::kSet);
  rank_.mesh.tensor().all_gather(mine, parts, all);
  const std::vector<double> by_part = to_host(all, k, arena);
  std::vector<double> out(by_part.size());
  for (int part = 0; part < cut.parts() && !out.empty(); ++part)
    for (int64_t row = 0; row < wanted.size(); ++row)
      for (int64_t v = 0; v < cut.size(part); ++v)
        out[static_cast<size_t>(row * V + cut.begin(part) + v)] =
            model_.logit_scale * by_part[static_cast<size_t>(parts.begin(part) + row * cut.size(part) + v)];
  return out;
}

}  // namespace ropewalk
