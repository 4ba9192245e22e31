// CRC-32C (Castagnoli): the checksum of checkpoints and of TensorBoard's records. Reflected polynomial 0x82f63b78,
// initial value and final exclusive-or 0xffffffff (RFC 3720, appendix B.4); of "123456789" it is 0xe3069283. It detects
// every error burst of up to 32 bits, so any flipped bit or byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ropewalk {

// The checksum of bytes that are given piece by piece.
class Crc32c {
 public:
  void update(const void* data, size_t bytes);
  uint32_t value() const { return ~state_; }

 private:
  uint32_t state_ = 0xffffffff;
};

uint32_t crc32c(const void* data, size_t bytes);
inline uint32_t crc32c(std::string_view bytes) { return crc32c(bytes.data(), bytes.size()); }

// The same, computed with tables: what crc32c() does on processors without SSE4.2.
uint32_t crc32c_by_tables(const void* data, size_t bytes);

}  // namespace ropewalk
