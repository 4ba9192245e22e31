// Elementwise operations and reductions, for fp32, fp64 and bf16.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>

#include "kernels/floating.h"
#include "kernels/operations/scalar.h"

namespace ropewalk::operations {

inline void copy_bytes(const void* from, void* to, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

template <typename From, typename To>
void cast(int64_t count, const From* from, To* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = narrow<To>(widen(from[i]));
}

template <typename E>
void fill(int64_t count, E* x, double value) {
  std::fill(x, x + count, narrow<E>(value));
}

template <typename E>
void add(int64_t count, const E* a, const E* b, E* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = narrow<E>(widen(a[i]) + widen(b[i]));
}

template <typename E>
double sum(int64_t count, const E* x) {
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += widen(x[i]);
  return total;
}

template <typename E>
double sum_of_squares(int64_t count, const E* x) {
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += static_cast<double>(widen(x[i])) * widen(x[i]);
  return total;
}

template <typename E>
std::optional<int64_t> first_not_finite(int64_t count, const E* x) {
  for (int64_t i = 0; i < count; ++i)
    if (!std::isfinite(widen(x[i]))) return i;
  return std::nullopt;
}

}  // namespace ropewalk::operations
