// Floating-point elements on the host, whatever their type: fp32, fp64 or bf16.
#pragma once

#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/error.h"

namespace ropewalk {

// Calls f with a value of the element type. Half: how bf16 is represented.
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

// The number that arithmetic is done in: bf16 widens to fp32.
inline float widen(BFloat16 x) { return static_cast<float>(x); }
template <typename E>
E widen(E x) {
  return x;
}
// A number as an element; as bf16 by way of fp32.
template <typename E, typename From>
E narrow(From x) {
  if constexpr (std::is_same_v<E, BFloat16>)
    return BFloat16(static_cast<float>(x));
  else
    return static_cast<E>(x);
}

}  // namespace ropewalk
