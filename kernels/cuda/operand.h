// Tensors as arguments of kernels: typed pointers and checks.
#pragma once

#include <type_traits>

#include "kernels/cuda/elements.h"
#include "kernels/tensor.h"

namespace ROPEWALK_CUDA {

// A pointer of the kernels' element type to the tensor's elements; null for an absent tensor.
template <typename E>
E* at(const Tensor& x) {
  using Element = std::remove_const_t<E>;
  constexpr DType type = std::is_same_v<Element, Bf16> ? DType::kBF16 : dtype_of<Element>;
  CHECK(x.empty() || x.dtype() == type, "a tensor of {} read as {} on cuda", name_of(x.dtype()), name_of(type));
  return static_cast<E*>(x.raw());
}

// Checks that x is aligned to `bytes`, the width of the kernels' vector accesses.
inline void check_aligned(const Tensor& x, uintptr_t bytes) {
  CHECK(reinterpret_cast<uintptr_t>(x.raw()) % bytes == 0, "an operand on cuda is not aligned to {} bytes", bytes);
}

}  // namespace ROPEWALK_CUDA
