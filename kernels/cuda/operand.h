// Operands as the host code of this folder hands them to its kernels.
#pragma once

#include "kernels/cuda/elements.h"
#include "kernels/tensor.h"

namespace ROPEWALK_CUDA {

// The elements as the kernels call them; null for an absent tensor.
template <typename E>
E* at(const Tensor& x) {
  return static_cast<E*>(x.raw());
}

// What the kernels read and write at once.
inline void check_aligned(const Tensor& x, uintptr_t bytes) {
  CHECK(reinterpret_cast<uintptr_t>(x.raw()) % bytes == 0, "an operand on cuda is not aligned to {} bytes", bytes);
}

}  // namespace ROPEWALK_CUDA
