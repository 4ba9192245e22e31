// Faults that a distributed trainer may have, injected by test doubles of the communicator and of the backend.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "parallel/communicator/communicator.h"
#include "tests/support/forwarding_backend.h"

namespace ropewalk {

// A message or a sum that goes wrong. It does so if hits(group, x) is true: `group` has the world ranks of the
// communicator's ranks, and `x` is the tensor.
struct CommunicationFault {
  enum class Kind {
    kForgottenSum,  // all_reduce and reduce_scatter return each rank's own summand; every time, on every rank
    kLostMessage,   // zeros the first `lost_elements` elements of the first such message that world rank 1 receives
  };
  Kind kind;
  std::function<bool(const std::vector<int>& group, const Tensor& x)> hits;
  int64_t lost_elements = 0;
  std::atomic<int64_t> times = 0;  // how often the fault has occurred
};

// The world with the fault, also in all groups split from it. The fault must outlive it.
std::shared_ptr<Communicator> with_fault(std::shared_ptr<Communicator> world, CommunicationFault& fault);

// Leaves out one attention call. Counts the calls whose keys and queries begin at different positions, and leaves out
// the call with index `call` (from 0).
class SkippedVisit final : public ForwardingBackend {
 public:
  SkippedVisit(Backend& inner, bool forward, int64_t call)
      : ForwardingBackend(inner), forward_(forward), countdown_(call) {}
  void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span, const Tensor& o,
                         const Tensor& lse) override {
    if (!skips(forward_, span)) ForwardingBackend::attention_forward(q, k, v, span, o, lse);
  }
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse,
                          const Tensor& delta, const AttentionSpan& span, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    if (!skips(!forward_, span)) ForwardingBackend::attention_backward(q, k, v, d_o, lse, delta, span, dq, dk, dv);
  }

 private:
  bool skips(bool this_direction, const AttentionSpan& span) {
    return this_direction && span.queries.begin != span.keys.begin && countdown_-- == 0;
  }
  bool forward_;
  int64_t countdown_;
};

// Changes the mask of every attention call.
class OtherMask final : public ForwardingBackend {
 public:
  OtherMask(Backend& inner, std::function<void(AttentionSpan&)> change)
      : ForwardingBackend(inner), change_(std::move(change)) {}
  void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span, const Tensor& o,
                         const Tensor& lse) override {
    ForwardingBackend::attention_forward(q, k, v, changed(span), o, lse);
  }
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse,
                          const Tensor& delta, const AttentionSpan& span, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    ForwardingBackend::attention_backward(q, k, v, d_o, lse, delta, changed(span), dq, dk, dv);
  }

 private:
  AttentionSpan changed(AttentionSpan span) const {
    change_(span);
    return span;
  }
  std::function<void(AttentionSpan&)> change_;
};

// Rotates by positions that are one too high.
class LateRotation final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  void rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) override {
    ForwardingBackend::rotate(x, first_position + 1, theta, direction);
  }
};

}  // namespace ropewalk
