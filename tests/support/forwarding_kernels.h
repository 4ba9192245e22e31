// A test double of the kernels that passes everything on, for others to watch or change: traced kernels of which no
// trace is kept.
#pragma once

#include "kernels/traced_kernels.h"

namespace ropewalk {

class ForwardingKernels : public TracedKernels {
 public:
  explicit ForwardingKernels(Kernels& inner) : TracedKernels(inner, unrecorded_) {}

 private:
  Trace unrecorded_;
};

}  // namespace ropewalk
