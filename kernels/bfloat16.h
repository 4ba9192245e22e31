// A bf16 element on the host: the upper half of an fp32, rounded to nearest, ties to even. Arithmetic is done in fp32.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/dtype.h"

namespace ropewalk {

struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  explicit BFloat16(float value) {
    const uint32_t wide = std::bit_cast<uint32_t>(value);
    const bool is_nan = (wide & 0x7fffffffu) > 0x7f800000u;  // rounding could turn a NaN into infinity: make it quiet
    bits = static_cast<uint16_t>(is_nan ? (wide >> 16) | 0x40u : (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

template <>
inline constexpr DType dtype_of<BFloat16> = DType::kBF16;

}  // namespace ropewalk
