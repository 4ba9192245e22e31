// THE DEVICE INTERFACE: everything a device must offer, in two classes. Kernels is the front door, which all code above
// calls: it checks operands, records the call in a trace and, after the call, polls outstanding communication (Poller).
// Backend is what a device implements (operations/ in plain loops, cpu/, cuda/).
//
// Conventions. Tensors are contiguous; shapes are written [rows, ..., columns] in the letters of kernels/README.md.
// Each output is set (=), added to (+=), or either, as the argument `write` says ((+)=). Tensors have the
// backend's compute type, except sums and statistics: parameter gradients, dq, dk, dv, attention_forward's o, lse,
// delta, mean, rstd, partials, log_sum and losses. These have accumulator_of(type): fp32, or fp64 if the compute type
// is fp64. Outputs may not overlap inputs. Comments below state every exception. Calls take effect in order; download()
// and the functions that return a number wait for the result. An absent tensor is an empty one. Operands that break
// these rules fail CHECK.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "kernels/positions.h"
#include "kernels/tensor.h"

namespace ropewalk {

enum class Write { kSet, kAdd };              // y = ..., y += ...
enum class Rotation { kForward, kBackward };  // by the angle, by minus the angle (its adjoint)

// Where some rows of queries and some rows of keys lie in their sequence, and the mask between them.
// Query i sees key j iff  j <= i,  i - j < window  and  j >= document_begin[i]  (i, j: global positions). Positions
// ascend from row to row, so each query sees one interval of key rows.
struct AttentionSpan {
  Positions queries;              // global positions of the query rows
  Positions keys;                 // global positions of the key rows
  std::optional<int64_t> window;  // keys that a query sees, its own position included; nullopt: no limit
  Tensor document_begin;  // [T] i32: the global position where each query's document begins; never decreases from row
                          // to row, and is at most the query's position. Absent: one document, which begins at 0
};

// Floating-point operations, as kernels/flops.h counts them. Exact, so that sums do not depend on their order: a step
// of a long sequence has more than 2^63.
__extension__ typedef __int128 FlopCount;
struct Flops {
  FlopCount products = 0, full_attention = 0, sliding_attention = 0;
  FlopCount total() const { return products + full_attention + sliding_attention; }
  void add(const Flops& other, int64_t times) {
    products += times * other.products;
    full_attention += times * other.full_attention;
    sliding_attention += times * other.sliding_attention;
  }
};

// What an operation costs: arithmetic where it is bound by arithmetic (products, attention), else the bytes that it
// reads and writes. Products and attention move bytes too, which their arithmetic hides: those do not count.
struct Work {
  Flops flops;
  FlopCount memory_bytes = 0;
  void add(const Work& other, int64_t times) {
    flops.add(other.flops, times);
    memory_bytes += times * other.memory_bytes;
  }
};

struct AdamWStep {
  double rate;          // learning rate of this step
  double beta1, beta2;  // decay of the moments
  double epsilon;
  double weight_decay;    // decoupled: w -= rate * weight_decay * w; 0 for norms
  int64_t step;           // 1 for the first update; sets the bias corrections
  double gradient_scale;  // factor on g before use: the clipping factor
};

class Backend;
class DeviceTimeline;
class Poller;
class RangeMarker;
class Trace;

class Kernels {
 public:
  explicit Kernels(std::unique_ptr<Backend> backend);
  ~Kernels();
  Kernels(const Kernels&) = delete;
  Kernels& operator=(const Kernels&) = delete;

  Backend& backend() const { return *backend_; }  // for computes(), and for code that needs a particular class
  Device device() const;
  DType dtype() const;       // compute type of weights and activations
  const char* name() const;  // "reference", "cpu", "cuda"
  Arithmetic arithmetic() const;
  bool deterministic() const;
  std::optional<DeviceStatus> device_status() const;
  std::optional<int64_t> peak_device_bytes() const;
  RangeMarker* range_marker();
  DeviceTimeline* device_timeline();

  // Records every call in `trace`, as a span named after the operation; null: records nothing. Must outlive all calls.
  void set_trace(Trace* trace) { trace_ = trace; }

  // While this object exists, `poller` is polled after every call that computes or moves data. The destructor restores
  // the previous poller, if any.
  class Polling {
   public:
    Polling(Kernels& kernels, Poller& poller) : kernels_(kernels), before_(kernels.poller_) {
      kernels.poller_ = &poller;
    }
    ~Polling() { kernels_.poller_ = before_; }  // nested objects end in reverse order
    Polling(const Polling&) = delete;
    Polling& operator=(const Polling&) = delete;

   private:
    Kernels& kernels_;
    Poller* before_;
  };

  // ---- memory
  std::unique_ptr<Buffer> allocate(int64_t bytes);  // throws DeviceError if memory is short
  void upload(const void* host, const Tensor& x);   // x = host bytes
  void download(const Tensor& x, void* host);       // host bytes = x, after all earlier calls
  void synchronize();                               // waits for all earlier calls

  // ---- elementwise, any shape, any floating type
  void copy(const Tensor& from, const Tensor& to);              // to = from, same type
  void cast(const Tensor& from, const Tensor& to);              // to = from, rounded to to's type
  void fill(const Tensor& x, double value);                     // x = value
  void add(const Tensor& a, const Tensor& b, const Tensor& y);  // y = a + b; y may be a or b

  // ---- products: x [N, I], w [O, I], y [N, O]
  void linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write);  // y (+)= x w^T
  void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx,
                             Write write);                                                        // dx (+)= dy w
  void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write);  // dw (+)= dy^T x

  // ---- embedding: tokens [N] i32, table [V, D] holds the rows [v_begin, v_begin + V) of the vocabulary

  // x[n] = table[tokens[n] - v_begin], or 0 where another rank holds the token's row.
  void embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x);
  // dtable[tokens[n] - v_begin] += dx[n], in the order of n.
  void embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable);

  // ---- layer norm without bias: x [N, D], w [M, D]; row n uses w[n mod M] (M = 1: a block's norm; M = heads: QK-Norm)

  // y = (x - mean) * rstd * w, with mean and rstd = 1 / sqrt(var + epsilon) over D, var the biased variance. Saves
  // mean [N], rstd [N]. (Ba et al., arXiv 1607.06450; Cohere2 drops the bias.)
  void layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, const Tensor& mean,
                          const Tensor& rstd);
  // dx = through + rstd * (g - mean_D(g) - xhat * mean_D(g * xhat)),  g = dy * w,  xhat = (x - mean) * rstd;
  // dw (+)= sum_n dy * xhat. `through` [N, D] is the gradient of the residual path around the norm, or absent.
  // dx may be dy or through.
  void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                           const Tensor& through, const Tensor& dx, const Tensor& dw, Write write);

  // ---- RoPE

  // In place: x [T, H, K], of the compute or the accumulator type, row t at global position first_position + t. Pairs
  // (2k, 2k+1) rotate by the angle position * theta^(-2k/K). (Su et al., arXiv 2104.09864; interleaved pairs as in
  // GPT-J and Cohere2.)
  void rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction);

  // ---- SwiGLU: gate, up, h [N, F]

  // h = silu(gate) * up,  silu(g) = g / (1 + exp(-g)).  (Shazeer, arXiv 2002.05202.)
  void swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h);
  // dgate = dh * up * silu'(gate),  dup = dh * silu(gate).  dgate may be gate, dup may be up.
  void swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate, const Tensor& dup);

  // ---- attention: q [T, H, K], k, v [U, G, K], H a multiple of G; query head h reads KV head h / (H / G)

  // Scores are q k^T / sqrt(K), masked by the span. Merges the attention (o', lse') over these keys into
  // o [T, H, K] and lse [T, H] (natural log):  L = log(exp(lse) + exp(lse')),  o = exp(lse - L) o + exp(lse' - L) o',
  // lse = L.  Start with lse = -infinity; o is not read where lse is -infinity. After all visible keys, o is the
  // softmax's output and lse its log-sum-exp. Rows that see none of these keys do not change. (Milakov & Gimelshein,
  // arXiv 1805.02867; Dao, arXiv 2307.08691.)
  void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span, const Tensor& o,
                         const Tensor& lse);
  // delta[t, h] = sum_K d_o * o  with the final o; delta [T, H] has the accumulator type. o has the compute type here,
  // in which it is saved for the backward.
  void attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta);
  // With P = exp(q k^T / sqrt(K) - lse), lse final:  dv += P^T d_o,  dS = P * (d_o v^T - delta),  dq += dS k / sqrt(K),
  // dk += dS^T q / sqrt(K).  dq [T, H, K], dk, dv [U, G, K] have the accumulator type. All three are +=.
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse,
                          const Tensor& delta, const AttentionSpan& span, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv);

  // ---- cross-entropy over a vocabulary split over ranks: logits [N, V] are its columns [v_begin, v_begin + V);
  // targets [N] i32, -1: the row is ignored

  // partials [N, 3] = (m, sum_v exp(s l_v - m), s l_target or 0 where another rank has the target),
  // m = max_v s l_v, s = logit_scale. For V = 0 the row is (-infinity, 0, 0).
  void cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin, double logit_scale,
                              const Tensor& partials);
  // Merges the partials [R, N, 3] of all R pieces of the vocabulary, in ascending order of the piece: log_sum [N] =
  // log sum_v exp(s l_v) and losses [N] = log_sum - s l_target, or 0 where the target is -1.
  void cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum, const Tensor& losses);
  // In place: logits = (exp(s l_v - log_sum) - [v = target]) * s * loss_scale, or 0 in rows whose target is -1.
  void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum, int64_t v_begin,
                              double logit_scale, double loss_scale);

  // ---- optimizer and checks

  // g' = gradient_scale g;  m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2;
  // w -= rate * (mhat / (sqrt(vhat) + epsilon) + weight_decay * w).  w, g, m and v have the accumulator type.
  // narrow = w rounded to the compute type; absent if the compute type is the accumulator type. (Loshchilov & Hutter,
  // arXiv 1711.05101.)
  void adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& narrow,
             const AdamWStep& step);
  double sum(const Tensor& x);                               // of any floating type, in fp64, in a fixed order
  double sum_of_squares(const Tensor& x);                    // likewise
  std::optional<int64_t> first_not_finite(const Tensor& x);  // flat index of the first NaN or infinity

 private:
  // Runs an operation whose operands have been checked. work() returns its Work; called only when a trace records or
  // the backend counts. In operations/call.h.
  template <typename CountWork, typename Operation>
  void call(const char* name, const CountWork& work, const Operation& operation);

  std::unique_ptr<Backend> backend_;
  Trace* trace_ = nullptr;    // null: calls are not recorded
  Poller* poller_ = nullptr;  // null: nothing is polled
};

// What a device implements: the operations of Kernels, on operands that have been checked. The default implementations
// are plain loops over host memory (operations/); they define the operations, and all others are compared with them.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual Device device() const = 0;
  virtual DType dtype() const = 0;
  virtual const char* name() const = 0;
  virtual Arithmetic arithmetic() const;  // if not overridden, only the precision of dtype()
  // False: operations do nothing, the plain forms neither; count() receives the work of each call first.
  virtual bool computes() const { return true; }
  virtual void count(const Work&) {}
  virtual bool deterministic() const { return true; }  // the same calls give the same bits
  // If the device is not the host: its status, and the peak of its memory allocated through this backend, in bytes.
  virtual std::optional<DeviceStatus> device_status() const { return std::nullopt; }
  virtual std::optional<int64_t> peak_device_bytes() const { return std::nullopt; }
  virtual RangeMarker* range_marker() { return nullptr; }        // for the device's profiler; null: none
  virtual DeviceTimeline* device_timeline() { return nullptr; }  // null: calls are synchronous

  virtual std::unique_ptr<Buffer> allocate(int64_t bytes) = 0;
  virtual void upload(const void* host, const Tensor& x) = 0;
  virtual void download(const Tensor& x, void* host) = 0;
  virtual void synchronize() = 0;

  virtual void copy(const Tensor& from, const Tensor& to);
  virtual void cast(const Tensor& from, const Tensor& to);
  virtual void fill(const Tensor& x, double value);
  virtual void add(const Tensor& a, const Tensor& b, const Tensor& y);
  virtual void linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write);
  virtual void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write);
  virtual void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write);
  virtual void embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x);
  virtual void embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable);
  virtual void layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, const Tensor& mean,
                                  const Tensor& rstd);
  virtual void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                   const Tensor& rstd, const Tensor& through, const Tensor& dx, const Tensor& dw,
                                   Write write);
  virtual void rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction);
  virtual void swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h);
  virtual void swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                               const Tensor& dup);
  virtual void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span,
                                 const Tensor& o, const Tensor& lse);
  virtual void attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta);
  virtual void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                  const Tensor& lse, const Tensor& delta, const AttentionSpan& span, const Tensor& dq,
                                  const Tensor& dk, const Tensor& dv);
  virtual void cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin, double logit_scale,
                                      const Tensor& partials);
  virtual void cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                                   const Tensor& losses);
  virtual void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                      int64_t v_begin, double logit_scale, double loss_scale);
  virtual void adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& narrow,
                     const AdamWStep& step);
  virtual double sum(const Tensor& x);
  virtual double sum_of_squares(const Tensor& x);
  virtual std::optional<int64_t> first_not_finite(const Tensor& x);
};

}  // namespace ropewalk
