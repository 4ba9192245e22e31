// A problem of attention over a shared sequence, and its solution: by ranks as threads, and by plain loops.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/make_kernels.h"
#include "parallel/attention/attention.h"

namespace ropewalk {

struct AttentionCase {
  int64_t sequences, length;  // B, S
  int64_t heads, key_heads, head_size;
  std::optional<int64_t> window;                // sliding attention, by halos; nullopt: full attention, by the ring
  std::vector<std::vector<int32_t>> documents;  // B x [S], or empty
  uint64_t seed;

  std::string text() const;
};

// Outputs and gradients in the order of the whole sequences: [B, S, heads or key heads, K], lse without K.
struct AttentionTensors {
  explicit AttentionTensors(const AttentionCase& problem);
  bool same_bits(const AttentionTensors& other) const;
  std::vector<double> o, lse, dq, dk, dv;
};

// One rank's part of a problem, in the kernels' compute type. All memory that the attention must set starts as NaN.
class RankAttention {
 public:
  RankAttention(const AttentionCase& problem, Kernels& kernels, Communicator& group);
  void forward();
  void backward();
  void collect(AttentionTensors& out);  // this rank's rows
  const Sequences& sequences() const { return sequences_; }

 private:
  // This rank's rows of a random tensor [B, S, heads, K] of the whole problem; `name` is part of the seed.
  void draw(const char* name, int64_t heads, const Tensor& into);
  Tensor unset(DType type, Shape shape);
  template <typename Visit>
  void for_each_row(Visit visit) const;  // visit(local row, row in the whole problem)

  const AttentionCase& problem_;
  Kernels& kernels_;
  Communicator& group_;
  SequenceLayout layout_;
  Arena memory_, scratch_;
  std::unique_ptr<DistributedAttention> attention_;
  Sequences sequences_;
  Tensor q_, kv_, d_o_, o_, lse_, dq_, dkv_;
};

// Forward and backward on `ranks` threads. Each rank's messages go through a StrictCommunicator.
AttentionTensors run_attention(const AttentionCase& problem, int ranks,
                               BackendKind backend = BackendKind::kReferenceF64);

// Softmax attention and its gradients from the formulas, one query at a time.
AttentionTensors naive_attention(const AttentionCase& problem);

// The largest difference in any tensor, relative to that tensor's largest entry; infinite if any value is not
// finite. If queries see only themselves, dq and dk are zero up to rounding, so the largest entry counts as at least
// 0.1.
double worst_error(const AttentionTensors& actual, const AttentionTensors& expected);

// Bound on worst_error between two orders of summation of the same terms, for the shapes of these tests: entries are
// standard normal (below 5), n <= 256 terms (keys of a query, or queries and heads of a key), K <= 8, u = 2^-53. A sum
// of n terms errs by at most n u times the sum of their magnitudes. Scores are the same in both, so o and lse err by
// about n u. In dS = P (do v - delta) the difference errs by (n + K) u times |do| |v| K, and dq, dk, dv sum such terms
// again: (2 n + K) u * 2 * 25 K = 520 * 1.1e-16 * 400 = 2.3e-11 if all entries were at their bound and all roundings of
// one sign. Both are random, so the actual error is smaller by a factor of at least sqrt(n) = 16.
inline constexpr double kTolerance = 1.5e-12;
inline constexpr double kToleranceF32 = kTolerance * 0x1p29;  // the same with u = 2^-24

}  // namespace ropewalk
