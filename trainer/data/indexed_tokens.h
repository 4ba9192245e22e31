// Tokens of every type that an indexed dataset may have (indexed_format.h), as they lie in its .bin.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>

#include "kernels/error.h"
#include "trainer/data/indexed_format.h"

namespace ropewalk::indexed {

template <typename T>
T load_token(const std::byte* from, size_t i) {
  T token;
  std::memcpy(&token, from + i * sizeof(T), sizeof(T));
  return token;
}

// The number of tokens before the first that is not a whole number in [0, vocabulary). The maximum vectorises; as an
// unsigned number, a negative token is larger than every other.
template <std::integral T>
size_t count_good(const std::byte* from, size_t count, int64_t vocabulary) {
  using Unsigned = std::make_unsigned_t<T>;
  const uint64_t limit =
      std::min(static_cast<uint64_t>(vocabulary), static_cast<uint64_t>(std::numeric_limits<T>::max()) + 1);
  Unsigned largest = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, load_token<Unsigned>(from, i));
  if (largest < limit) return count;
  size_t i = 0;
  while (load_token<Unsigned>(from, i) < limit) ++i;
  return i;
}

template <std::floating_point T>
size_t count_good(const std::byte* from, size_t count, int64_t vocabulary) {
  for (size_t i = 0; i < count; ++i) {
    const auto token = static_cast<double>(load_token<T>(from, i));  // may be NaN
    if (!(token >= 0 && token < static_cast<double>(vocabulary) && token == std::floor(token))) return i;
  }
  return count;
}

template <typename T>
void widen(const std::byte* from, std::span<int32_t> to) {
  for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<int32_t>(load_token<T>(from, i));
}

// Calls work.operator()<T>() with the C++ type of the tokens.
auto with_type(TokenType type, const auto& work) {
  switch (type) {
    case TokenType::kU8:
      return work.template operator()<uint8_t>();
    case TokenType::kI8:
      return work.template operator()<int8_t>();
    case TokenType::kI16:
      return work.template operator()<int16_t>();
    case TokenType::kU16:
      return work.template operator()<uint16_t>();
    case TokenType::kI32:
      return work.template operator()<int32_t>();
    case TokenType::kI64:
      return work.template operator()<int64_t>();
    case TokenType::kF32:
      return work.template operator()<float>();
    case TokenType::kF64:
      return work.template operator()<double>();
  }
  CHECK(false, "tokens of type {}", static_cast<int>(type));
  return work.template operator()<int64_t>();
}

}  // namespace ropewalk::indexed
