// Floating-point elements on the host, of any type: fp32, fp64 or bf16.
#pragma once

#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/error.h"

namespace ropewalk {

// Calls f with a value (0) of the C++ type of `dtype`; Half represents bf16. Fails CHECK for other types.
template <typename Half = BFloat16, typename F>
void visit_floating(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF64:
      return f(double{});
    case DType::kBF16:
      return f(Half{});
    default:
      CHECK(dtype == DType::kF32, "{} is not floating", name_of(dtype));
      return f(float{});
  }
}

// Widens an element to the type of its arithmetic: bf16 to fp32, others unchanged.
inline float widen(BFloat16 x) { return static_cast<float>(x); }
template <typename E>
E widen(E x) {
  return x;
}
// Converts a number to an element type; to bf16 by way of fp32.
template <typename E, typename From>
E narrow(From x) {
  if constexpr (std::is_same_v<E, BFloat16>)
    return BFloat16(static_cast<float>(x));
  else
    return static_cast<E>(x);
}

}  // namespace ropewalk
