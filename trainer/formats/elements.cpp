#include "trainer/formats/elements.h"

#include <cmath>
#include <cstring>

#include "kernels/bfloat16.h"
#include "kernels/error.h"
#include "kernels/float16.h"

namespace ropewalk {
namespace {

template <typename E>
E load(const uint8_t* from, int64_t index) {
  E value;
  std::memcpy(&value, from + index * static_cast<int64_t>(sizeof(E)), sizeof(E));
  return value;
}

// Every pair of types meets in fp32, except that fp64 stays as it is.
template <typename E>
auto number_of(E value) {
  if constexpr (sizeof(E) == 8)
    return value;
  else
    return static_cast<float>(value);
}

template <typename From, typename To>
int64_t convert(const uint8_t* from, uint8_t* to, int64_t count) {
  int64_t overflows = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto value = number_of(load<From>(from, i));
    To result;
    if constexpr (sizeof(To) >= 4)
      result = static_cast<To>(value);
    else
      result = To(static_cast<float>(value));
    overflows += std::isfinite(value) && !std::isfinite(number_of(result));
    std::memcpy(to + i * static_cast<int64_t>(sizeof(To)), &result, sizeof(To));
  }
  return overflows;
}

template <typename F>
int64_t visit(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF64:
      return f(double{});
    case DType::kBF16:
      return f(BFloat16());
    case DType::kF16:
      return f(Float16());
    default:
      CHECK(dtype == DType::kF32, "weights of {}", name_of(dtype));
      return f(float{});
  }
}

}  // namespace

int64_t convert_elements(const uint8_t* from, DType from_type, uint8_t* to, DType to_type, int64_t count) {
  if (from_type == to_type) {
    std::memcpy(to, from, static_cast<size_t>(count * size_of(to_type)));
    return 0;
  }
  return visit(from_type, [&](auto source) {
    return visit(to_type, [&](auto target) { return convert<decltype(source), decltype(target)>(from, to, count); });
  });
}

}  // namespace ropewalk
