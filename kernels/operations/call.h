// What is the same for every call of Kernels, once its operands have been checked.
#pragma once

#include <optional>

#include "kernels/kernels.h"
#include "kernels/poller.h"
#include "kernels/trace.h"

namespace ropewalk {

template <typename CountFlops, typename Operation>
void Kernels::call(const char* name, const CountFlops& flops, const Operation& operation) {
  {
    std::optional<Trace::Scope> span;
    if (trace_ && trace_->listens()) span.emplace(trace_, name, "kernel");
    if (span && trace_->recording()) (*span)->flops = static_cast<double>(flops().total());
    if (!backend_->computes()) backend_->count(flops());
    operation();
  }
  if (poller_) poller_->poll();
}

template <typename Operation>
void Kernels::call(const char* name, const Operation& operation) {
  call(
      name, [] { return Flops(); }, operation);
}

}  // namespace ropewalk
