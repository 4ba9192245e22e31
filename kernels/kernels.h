// THE SEAM: everything a device must offer. A backend implements this class (reference/, cpu/, cuda/); nothing above it
// knows which one is at work.
//
// Conventions. Tensors are contiguous; shapes are written [rows, ..., columns] in the letters of kernels/README.md.
// Each output says whether it is set (=) or added to (+=). Parameter gradients are always +=, activation gradients
// always =, except where it says otherwise. Unless it says otherwise all tensors of a call have the backend's compute
// type, and statistics, sums, attention's (o, lse) and parameter gradients, which are sums over many calls, have
// accumulator_of(type): fp32, or fp64 when the type is fp64.
// Outputs may not overlap inputs unless it says so. Calls are ordered among themselves; download() and the functions
// that return a number wait for the result. An absent tensor is an empty one. Shapes that do not fit fail CHECK.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace ropewalk {

enum class Write { kSet, kAdd };              // y = ..., y += ...
enum class Rotation { kForward, kBackward };  // by the angle, by minus the angle (its adjoint)

// Where a piece of queries and a piece of keys stand in their sequence: both are contiguous in global positions, so the
// mask needs only two offsets. Query i sees key j iff  j <= i,  i - j < window  and  j >= document_begin[i].
struct AttentionSpan {
  int64_t q_begin = 0;            // global position of the first query row
  int64_t k_begin = 0;            // global position of the first key row
  std::optional<int64_t> window;  // keys that a query sees, itself included; nullopt: all before it
  Tensor document_begin;  // [T] i32: global position where the document of each query row begins, never decreasing;
                          // absent: the whole sequence is one document that begins at 0
};

struct AdamWStep {
  double rate;          // learning rate of this step
  double beta1, beta2;  // decay of the moments
  double epsilon;
  double weight_decay;    // decoupled: w -= rate * weight_decay * w; 0 for norms
  int64_t step;           // 1 for the first update; sets the bias corrections
  double gradient_scale;  // factor on g before use: the clipping factor
};

class RangeMarker;
class DeviceTimeline;

class Kernels {
 public:
  virtual ~Kernels() = default;

  virtual Device device() const = 0;
  virtual DType dtype() const = 0;                     // compute type of weights and activations
  virtual const char* name() const = 0;                // "reference", "cpu", "cuda"
  virtual bool deterministic() const { return true; }  // the same calls give the same bits
  // Where the device is not the host: what it is, and the most of its memory that was allocated here at a time, in
  // bytes.
  virtual std::optional<DeviceStatus> device_status() const { return std::nullopt; }
  virtual std::optional<int64_t> peak_device_bytes() const { return std::nullopt; }
  virtual RangeMarker* range_marker() { return nullptr; }        // of the device's profiler; null: it has none
  virtual DeviceTimeline* device_timeline() { return nullptr; }  // null: the host waits for each call

  // ---- memory
  virtual std::unique_ptr<Buffer> allocate(int64_t bytes) = 0;  // throws DeviceError saying how much was asked
  virtual void upload(const void* host, const Tensor& x) = 0;   // x = host bytes
  virtual void download(const Tensor& x, void* host) = 0;       // host bytes = x, after all earlier calls
  virtual void synchronize() = 0;                               // all earlier calls are done

  // ---- elementwise, any shape, any floating type
  virtual void copy(const Tensor& from, const Tensor& to) = 0;              // to = from, same type
  virtual void cast(const Tensor& from, const Tensor& to) = 0;              // to = from, rounded to to's type
  virtual void fill(const Tensor& x, double value) = 0;                     // x = value
  virtual void add(const Tensor& a, const Tensor& b, const Tensor& y) = 0;  // y = a + b; y may be a or b

  // ---- products: x [N, I], w [O, I], y [N, O]
  virtual void linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) = 0;  // y (+)= x w^T
  virtual void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx,
                                     Write write) = 0;                                           // dx (+)= dy w
  virtual void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) = 0;  // dw += dy^T x

  // ---- embedding: tokens [N] i32, table [V, D] holds the rows [v_begin, v_begin + V) of the vocabulary

  // x[n] = table[tokens[n] - v_begin], or 0 where the token is another rank's.
  virtual void embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) = 0;
  // dtable[tokens[n] - v_begin] += dx[n], in the order of n.
  virtual void embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) = 0;

  // ---- layer norm without bias: x [N, D], w [M, D]; row n uses w[n mod M] (M = 1: a block's norm; M = heads: QK-Norm)

  // y = (x - mean) * rstd * w, with mean and rstd = 1 / sqrt(var + epsilon) over D, var the biased variance. Saves
  // mean [N], rstd [N]. (Ba et al., arXiv 1607.06450; Cohere2 drops the bias.)
  virtual void layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, const Tensor& mean,
                                  const Tensor& rstd) = 0;
  // dx = through + rstd * (g - mean_D(g) - xhat * mean_D(g * xhat)),  g = dy * w,  xhat = (x - mean) * rstd;
  // dw += dy * xhat. `through` [N, D] is the gradient that comes past the norm on the residual path, or absent. dx may
  // be dy or through.
  virtual void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                   const Tensor& rstd, const Tensor& through, const Tensor& dx, const Tensor& dw) = 0;

  // ---- rotary positions

  // In place: x [T, H, K], of the compute or the accumulator type, row t at global position first_position + t. Pairs
  // (2k, 2k+1) turn by position * theta^(-2k/K). (Su et al., arXiv 2104.09864; interleaved pairs as in GPT-J and
  // Cohere2.)
  virtual void rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) = 0;

  // ---- SwiGLU: gate, up, h [N, F]

  // h = silu(gate) * up,  silu(g) = g / (1 + exp(-g)).  (Shazeer, arXiv 2002.05202.)
  virtual void swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) = 0;
  // dgate = dh * up * silu'(gate),  dup = dh * silu(gate).  dgate may be gate, dup may be up.
  virtual void swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                               const Tensor& dup) = 0;

  // ---- attention: q [T, H, K], k, v [U, G, K], H a multiple of G; query head h reads key head h / (H / G)

  // Scores are q k^T / sqrt(K), masked by the span. Merges this piece of keys into o [T, H, K] and lse [T, H] (natural
  // log), which start at o = 0, lse = -infinity and end, when every visible piece has been visited, at the softmax's
  // output and log-sum-exp:  L = log(exp(lse) + exp(lse')),  o = exp(lse - L) o + exp(lse' - L) o'.  A row that sees no
  // key of this piece is left as it is. (Milakov & Gimelshein, arXiv 1805.02867; Dao, arXiv 2307.08691.)
  virtual void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span,
                                 const Tensor& o, const Tensor& lse) = 0;
  // delta[t, h] = sum_K do * o  (o final), [T, H]. do and o have the compute type: what a backward keeps of o.
  virtual void attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) = 0;
  // With P = exp(q k^T / sqrt(K) - lse), lse final:  dv += P^T do,  dS = P * (do v^T - delta),  dq += dS k / sqrt(K),
  // dk += dS^T q / sqrt(K).  dq [T, H, K], dk, dv [U, G, K] have the accumulator type. All three are +=.
  virtual void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                  const Tensor& lse, const Tensor& delta, const AttentionSpan& span, const Tensor& dq,
                                  const Tensor& dk, const Tensor& dv) = 0;

  // ---- cross-entropy over a split vocabulary: logits [N, V] are columns [v_begin, v_begin + V); targets [N] i32, -1
  // ignored

  // partials [N, 3] = (m, sum_v exp(s l_v - m), s l_target or 0 where the target is another rank's),
  // m = max_v s l_v, s = logit_scale. For V = 0 the row is (-infinity, 0, 0).
  virtual void cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin, double logit_scale,
                                      const Tensor& partials) = 0;
  // From the partials of all R vocabulary pieces [R, N, 3], merged in order of R: log_sum [N] = log sum_v exp(s l_v)
  // and losses [N] = log_sum - s l_target, or 0 where the target is -1.
  virtual void cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                                   const Tensor& losses) = 0;
  // In place: logits = (exp(s l_v - log_sum) - [v = target]) * s * loss_scale, or 0 in rows whose target is -1.
  virtual void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                      int64_t v_begin, double logit_scale, double loss_scale) = 0;

  // ---- optimizer and checks

  // g' = gradient_scale g;  m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2;
  // w -= rate * (mhat / (sqrt(vhat) + epsilon) + weight_decay * w).  All four have the accumulator type. (Loshchilov &
  // Hutter, arXiv 1711.05101.)
  virtual void adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const AdamWStep& step) = 0;
  virtual double sum(const Tensor& x) = 0;             // of any floating type, in fp64, in a fixed order
  virtual double sum_of_squares(const Tensor& x) = 0;  // likewise
  virtual std::optional<int64_t> first_not_finite(const Tensor& x) = 0;  // flat index of the first NaN or infinity
};

enum class Backend { kReferenceF64, kReferenceF32, kReferenceBF16, kCpu, kCuda };

// Of a backend's weights and activations, whether this build has it or not.
DType compute_type(Backend backend);

// What a backend can compute, whether this build has it or not.
struct BackendLimits {
  std::vector<int64_t> head_sizes = {};                              // of attention; empty: any
  int64_t most_grouped_heads = std::numeric_limits<int64_t>::max();  // query heads to a key head
  int64_t width_multiple = 1;                                        // D is a multiple of it
  int64_t most_width = std::numeric_limits<int64_t>::max();          // and not larger
};
BackendLimits limits_of(Backend backend);

struct BackendOptions {
  int local_rank = 0;         // which of a host's devices, counted around
  bool deterministic = true;  // false: where there is a form for it, what is added to one place may come in any order
                              // (cuda: attention's dq)
};

// The backend. Throws ConfigurationError where it is not built or lacks its libraries, DeviceError where the host lacks
// the device. Which backends there are is known in make_kernels.cpp alone.
std::unique_ptr<Kernels> make_kernels(Backend backend, const BackendOptions& options = {});

}  // namespace ropewalk
