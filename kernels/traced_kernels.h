// Another backend's kernels, with a span in a trace for every call that computes.
#pragma once

#include "kernels/trace.h"
#include "kernels/wrapped_kernels.h"

namespace ropewalk {

class TracedKernels final : public WrappedKernels {
 public:
  TracedKernels(Kernels& inner, Trace& trace) : WrappedKernels(inner), trace_(trace) {}

 protected:
  void call(const char* name, const std::function<void()>& operation, const std::function<double()>& flops) override {
    Trace::Scope scope(&trace_, name, "kernel");
    if (flops && trace_.recording()) scope->flops = flops();
    operation();
  }

 private:
  Trace& trace_;
};

}  // namespace ropewalk
