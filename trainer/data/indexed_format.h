// Megatron's indexed dataset (NVIDIA/Megatron-LM, megatron/core/datasets/indexed_dataset.py), all little-endian:
//
//   PREFIX.bin   the tokens of all sequences, back to back
//   PREFIX.idx   0   magic "MMIDIDX\0\0"
//                9   version, u64 = 1
//               17   token type, u8
//               18   S: number of sequences, u64
//               26   D: length of the document array, u64 = documents + 1
//               34   lengths of the sequences in tokens, i32 [S]
//          34 + 4S   byte offset of each sequence in the .bin, i64 [S]
//         34 + 12S   documents, i64 [D]: document d has the sequences [array[d], array[d + 1]);
//                   the first entry is 0, the last S
//
// Floating types hold tokens as whole numbers. Multimodal datasets append a mode, i8 [S]; they are refused.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <string_view>

namespace ropewalk::indexed {

static_assert(std::endian::native == std::endian::little, "the files are read and written as they lie in memory");

using namespace std::string_view_literals;
inline constexpr std::string_view kMagic = "MMIDIDX\0\0"sv;
inline constexpr uint64_t kVersion = 1;
inline constexpr int64_t kHeaderBytes = 34;

enum class TokenType : uint8_t { kU8 = 1, kI8 = 2, kI16 = 3, kI32 = 4, kI64 = 5, kF64 = 6, kF32 = 7, kU16 = 8 };

// As Megatron's DType.optimal_dtype, except for a vocabulary of exactly 65,500: u16 here, i32 in Megatron.
constexpr TokenType token_type_for(int64_t vocabulary) {
  return vocabulary <= 65500 ? TokenType::kU16 : TokenType::kI32;
}

// Bytes of a token; 0 for an unknown type.
constexpr int64_t size_of(TokenType type) {
  switch (type) {
    case TokenType::kU8:
    case TokenType::kI8:
      return 1;
    case TokenType::kI16:
    case TokenType::kU16:
      return 2;
    case TokenType::kI32:
    case TokenType::kF32:
      return 4;
    case TokenType::kI64:
    case TokenType::kF64:
      return 8;
  }
  return 0;
}

constexpr bool is_floating(TokenType type) { return type == TokenType::kF32 || type == TokenType::kF64; }

constexpr const char* name_of(TokenType type) {
  switch (type) {
    case TokenType::kU8:
      return "u8";
    case TokenType::kI8:
      return "i8";
    case TokenType::kI16:
      return "i16";
    case TokenType::kU16:
      return "u16";
    case TokenType::kI32:
      return "i32";
    case TokenType::kI64:
      return "i64";
    case TokenType::kF32:
      return "f32";
    case TokenType::kF64:
      return "f64";
  }
  return "unknown";
}

inline constexpr int64_t kMaxSequenceTokens = std::numeric_limits<int32_t>::max();

}  // namespace ropewalk::indexed
