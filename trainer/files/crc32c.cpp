#include "trainer/files/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace ropewalk {
namespace {

static_assert(std::endian::native == std::endian::little, "words are read in the order of their bytes");

// tables[k][b]: the contribution of byte b if k more bytes of its word follow (slicing by 8; Kounavis & Berry 2005).
using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0u);
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

uint32_t update_by_tables(uint32_t crc, const uint8_t* data, size_t bytes) {
  for (; bytes >= 8; data += 8, bytes -= 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    word ^= crc;
    crc = 0;
    for (size_t k = 0; k < 8; ++k) crc ^= kTables[7 - k][(word >> (8 * k)) & 0xff];
  }
  for (; bytes > 0; ++data, --bytes) crc = (crc >> 8) ^ kTables[0][(crc ^ *data) & 0xff];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t update_by_instruction(uint32_t crc, const uint8_t* data, size_t bytes) {
  uint64_t wide = crc;
  for (; bytes >= 8; data += 8, bytes -= 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (; bytes > 0; ++data, --bytes) crc = _mm_crc32_u8(crc, *data);
  return crc;
}

uint32_t update(uint32_t crc, const uint8_t* data, size_t bytes) {
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  return has_instruction ? update_by_instruction(crc, data, bytes) : update_by_tables(crc, data, bytes);
}
#else
uint32_t update(uint32_t crc, const uint8_t* data, size_t bytes) { return update_by_tables(crc, data, bytes); }
#endif

}  // namespace

void Crc32c::update(const void* data, size_t bytes) {
  state_ = ropewalk::update(state_, static_cast<const uint8_t*>(data), bytes);
}

uint32_t crc32c(const void* data, size_t bytes) {
  return ~update(0xffffffff, static_cast<const uint8_t*>(data), bytes);
}

uint32_t crc32c_by_tables(const void* data, size_t bytes) {
  return ~update_by_tables(0xffffffff, static_cast<const uint8_t*>(data), bytes);
}

}  // namespace ropewalk
