// An IEEE 754 half-precision (fp16) element. Files of other programs have it; no operation computes with it.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/dtype.h"

namespace ropewalk {

struct Float16 {
  uint16_t bits = 0;

  Float16() = default;
  // Rounds to nearest, ties to even; from 65520 on, the result is infinite.
  explicit Float16(float value) {
    const uint32_t wide = std::bit_cast<uint32_t>(value), magnitude = wide & 0x7fffffffu;
    const uint32_t sign = (wide >> 16) & 0x8000u;
    uint32_t half;
    if (magnitude > 0x7f800000u)  // NaN: its upper bits, made quiet
      half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    else if (magnitude >= 0x477ff000u)
      half = 0x7c00u;
    else if (magnitude >= 0x38800000u)  // normal: the exponent's bias changes from 127 to 15
      half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    else  // subnormal: adding 0.5 makes the unit of the sum 2^-24, the least fp16, so the addition rounds
      half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    bits = static_cast<uint16_t>(sign | half);
  }
  explicit operator float() const {
    const uint32_t sign = uint32_t{bits & 0x8000u} << 16, magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude << 13));
    if (magnitude >= 0x0400u) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
    const float small = static_cast<float>(magnitude) * 0x1p-24f;
    return sign ? -small : small;
  }
};

template <>
inline constexpr DType dtype_of<Float16> = DType::kF16;

}  // namespace ropewalk
