// Element types of tensors. kF16 occurs in files only.
#pragma once

#include <cstdint>

namespace ropewalk {

enum class DType : uint8_t { kF32, kF64, kBF16, kF16, kI32, kU8 };

constexpr int64_t size_of(DType type) {
  switch (type) {
    case DType::kF64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kU8:
      return 1;
  }
  return 0;
}

constexpr const char* name_of(DType type) {
  switch (type) {
    case DType::kF64:
      return "f64";
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kI32:
      return "i32";
    case DType::kU8:
      return "u8";
  }
  return "?";
}

// The usual name of a precision: "fp64", "fp32", "bf16".
constexpr const char* precision_of(DType type) {
  return type == DType::kF64 ? "fp64" : type == DType::kF32 ? "fp32" : name_of(type);
}

constexpr bool is_floating(DType type) { return type != DType::kI32 && type != DType::kU8; }

// The type of sums over values of `type`: fp64 for fp64, otherwise fp32.
constexpr DType accumulator_of(DType type) { return type == DType::kF64 ? DType::kF64 : DType::kF32; }

// The DType of a C++ type, as in dtype_of<float> == DType::kF32; kU8 for types without a specialization.
template <typename T>
inline constexpr DType dtype_of = DType::kU8;
template <>
inline constexpr DType dtype_of<float> = DType::kF32;
template <>
inline constexpr DType dtype_of<double> = DType::kF64;
template <>
inline constexpr DType dtype_of<int32_t> = DType::kI32;
template <>
inline constexpr DType dtype_of<uint8_t> = DType::kU8;

}  // namespace ropewalk
