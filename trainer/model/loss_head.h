// The end of the model: final norm, logits against the tied embedding, cross-entropy. The logits are made, used and
// thrown away a chunk of rows at a time: while a chunk is here, its loss and both of its products of the backward are
// computed, so no more than [loss_chunk, V here] of them ever exist, on any rank. The vocabulary is split over the
// tensor group; three numbers a row are exchanged, never logits.
#pragma once

#include "parallel/attention/sequences.h"
#include "parallel/tensor_parallel.h"
#include "trainer/model/parameters.h"

namespace ropewalk {

// What forward keeps for backward.
struct LossActivations {
  Tensor x;           // [N', D] the last block's output
  Tensor mean, rstd;  // [N']
  Tensor dn;          // [N, D] gradient of the norm's output, this rank's vocabulary's part
};

class LossHead {
 public:
  LossHead(const ModelConfig& model, const ParameterTable& table, Rank rank, TensorRegion region, int64_t loss_chunk)
      : model_(model), table_(table), rank_(rank), region_(region), loss_chunk_(loss_chunk) {}

  // losses [N] (accumulator type, from the arena): -log p(target), 0 where the target is -1.
  Tensor losses(const ParameterValues& weights, const Sequences& sequences, const Tensor& x) const;
  // The same, with the gradient of loss_scale * sum(losses): writes the embedding's and fills `saved` for backward.
  Tensor forward(const ParameterValues& weights, const Sequences& sequences, const Tensor& x, double loss_scale,
                 LossActivations& saved, const ParameterValues& gradients, Write write) const;
  // -> dx [N', D], from the arena; writes the norm's gradient.
  Tensor backward(const ParameterValues& weights, LossActivations& saved, const ParameterValues& gradients,
                  Write write) const;

  // Logits of row `row` of the N over the whole vocabulary, logit scale applied: [V] on the host. Collective over the
  // tensor group.
  std::vector<double> logits(const ParameterValues& weights, int64_t rows, const Tensor& x, int64_t row) const;

 private:
  Tensor normed(const ParameterValues& weights, const Tensor& x, int64_t rows, const Tensor& mean,
                const Tensor& rstd) const;
  // log_sum and losses of `targets` from the logits of this rank's vocabulary.
  void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& log_sum, const Tensor& losses) const;

  const ModelConfig& model_;
  const ParameterTable& table_;
  Rank rank_;
  TensorRegion region_;
  int64_t loss_chunk_;
};

}  // namespace ropewalk
