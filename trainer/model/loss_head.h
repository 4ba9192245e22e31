// The end of the model: final norm, logits against the tied embedding, cross-entropy. Logits are computed a chunk of
// rows at a time. For each chunk, the loss and both matrix products of the backward (gradients of the norm's output and
// of the embedding) are computed before the logits are freed, so at most [loss_chunk, V / tensor ranks] logits exist on
// a rank. The vocabulary is split over the tensor group; for the loss, ranks exchange three numbers per row and no
// logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/range.h"
#include "parallel/attention/sequences.h"
#include "parallel/tensor_parallel.h"
#include "trainer/model/parameters.h"

namespace ropewalk {

// What forward keeps for backward.
struct LossActivations {
  Tensor x;           // [N', D] the last block's output
  Tensor mean, rstd;  // [N']
  Tensor dn;          // [N, D] gradient of the norm's output: the partial sum over this rank's vocabulary
};

// What the model says about the target of one row.
struct TargetScore {
  int64_t row;     // of the micro-batch
  double loss;     // -log p(target), in nats
  bool is_greedy;  // no token of the vocabulary has a larger logit than the target
};

class LossHead {
 public:
  LossHead(const ModelConfig& model, const ParameterTable& table, Rank rank, TensorRegion region, int64_t loss_chunk)
      : model_(model), table_(table), rank_(rank), region_(region), loss_chunk_(loss_chunk) {}

  // The scores of all rows that have a target, in order; the same on all ranks of the tensor group, over which this is
  // collective. Logits are computed for these rows alone: most rows of a long context have no target. Empty on a
  // backend that does not compute, where every row counts as one with a target.
  std::vector<TargetScore> score(const ParameterValues& weights, const Sequences& sequences, const Tensor& x) const;
  // For training: returns the losses [N] (accumulator type, from the arena), 0 where the target is -1, fills `saved`
  // for backward(), and writes the embedding's part of the gradient of loss_scale * sum(losses).
  Tensor forward(const ParameterValues& weights, const Sequences& sequences, const Tensor& x, double loss_scale,
                 LossActivations& saved, const ParameterValues& gradients, Write write) const;
  // -> dx [N', D], from the arena; writes the norm's gradient.
  Tensor backward(const ParameterValues& weights, LossActivations& saved, const ParameterValues& gradients,
                  Write write) const;

  // Logits of rows [wanted.begin, wanted.end) of the N = `rows` rows of x over the whole vocabulary, with the logit
  // scale: [wanted.size(), V] on the host; empty on a backend that does not compute. Collective over the tensor group,
  // which all-gathers these logits.
  std::vector<double> logits(const ParameterValues& weights, int64_t rows, const Tensor& x, Range wanted) const;

 private:
  Tensor normed(const ParameterValues& weights, const Tensor& x, int64_t rows, const Tensor& mean,
                const Tensor& rstd) const;
  // The partials [tensor ranks, N, 3] of the whole vocabulary (Kernels::cross_entropy_partials), from the arena.
  Tensor partials(const Tensor& logits, const Tensor& targets) const;
  // Computes log_sum (the log-sum-exp over the whole vocabulary) and the losses of `targets` from this rank's logits.
  void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& log_sum, const Tensor& losses) const;

  const ModelConfig& model_;
  const ParameterTable& table_;
  Rank rank_;
  TensorRegion region_;
  int64_t loss_chunk_;
};

}  // namespace ropewalk
