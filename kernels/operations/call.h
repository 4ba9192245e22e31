// What is the same for every call of Kernels, once its operands have been checked.
#pragma once

#include <initializer_list>
#include <optional>

#include "kernels/kernels.h"
#include "kernels/poller.h"
#include "kernels/trace.h"

namespace ropewalk {

// The Work of an operation that is bound by memory: it reads `reads` once and writes `writes` once. A tensor
// that is changed in place is in both lists.
inline Work moved(std::initializer_list<Tensor> reads, std::initializer_list<Tensor> writes) {
  Work work;
  for (const Tensor& x : reads) work.memory_bytes += x.bytes();
  for (const Tensor& x : writes) work.memory_bytes += x.bytes();
  return work;
}

template <typename CountWork, typename Operation>
void Kernels::call(const char* name, const CountWork& work, const Operation& operation) {
  {
    std::optional<Trace::Scope> span;
    if (trace_ && trace_->listens()) span.emplace(trace_, name, "kernel");
    if (span && trace_->recording()) {
      const Work counted = work();
      (*span)->flops = static_cast<double>(counted.flops.total());
      (*span)->memory_bytes = static_cast<double>(counted.memory_bytes);
    }
    if (!backend_->computes()) backend_->count(work());
    operation();
  }
  if (poller_) poller_->poll();
}

}  // namespace ropewalk
