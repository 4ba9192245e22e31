// The reference backend, in fp64, fp32 or bf16 (fp32 loops over widened operands): the plain form of every operation.
// Other backends are compared with it.
#pragma once

#include "kernels/host_backend.h"

namespace ropewalk {

class ReferenceBackend final : public HostBackend {
 public:
  explicit ReferenceBackend(DType dtype) : dtype_(dtype) {}
  DType dtype() const override { return dtype_; }
  const char* name() const override { return "reference"; }

 private:
  DType dtype_;
};

}  // namespace ropewalk
