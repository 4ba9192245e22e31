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
// The product of two polynomials modulo the CRC's; bit 31 is the constant term, as everywhere here.
constexpr uint32_t times(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (int bit = 31; bit >= 0; --bit) {
    if (a >> bit & 1) product ^= b;
    b = (b >> 1) ^ (b & 1 ? 0x82f63b78u : 0u);  // times x
  }
  return product;
}

// The instruction's result comes after three cycles, but a new one can begin in each. So three lanes are summed side by
// side. A CRC of data followed by n zero bytes is the data's CRC times x^(8n), which joins the lanes.
constexpr size_t kLane = 2048;

constexpr auto make_lane_tables() {
  static_assert((kLane & (kLane - 1)) == 0);
  uint32_t factor = 0x40000000u;  // x, squared until it is x^(8 kLane)
  for (size_t power = 1; power < 8 * kLane; power *= 2) factor = times(factor, factor);
  std::array<std::array<uint32_t, 256>, 4> tables{};
  for (uint32_t k = 0; k < 4; ++k)
    for (uint32_t byte = 0; byte < 256; ++byte) tables[k][byte] = times(byte << (8 * k), factor);
  return tables;
}

// The state after kLane zero bytes.
uint32_t skip_lane(uint32_t crc) {
  static constexpr auto kSkip = make_lane_tables();
  return kSkip[0][crc & 0xff] ^ kSkip[1][crc >> 8 & 0xff] ^ kSkip[2][crc >> 16 & 0xff] ^ kSkip[3][crc >> 24];
}

__attribute__((target("sse4.2"))) uint32_t update_by_instruction(uint32_t crc, const uint8_t* data, size_t bytes) {
  for (; bytes >= 3 * kLane; data += 3 * kLane, bytes -= 3 * kLane) {
    std::array<uint64_t, 3> lanes = {crc, 0, 0};
    for (size_t at = 0; at < kLane; at += 8) {
      for (size_t lane = 0; lane < 3; ++lane) {
        uint64_t word;
        std::memcpy(&word, data + lane * kLane + at, 8);
        lanes[lane] = _mm_crc32_u64(lanes[lane], word);
      }
    }
    crc = skip_lane(static_cast<uint32_t>(lanes[0])) ^ static_cast<uint32_t>(lanes[1]);
    crc = skip_lane(crc) ^ static_cast<uint32_t>(lanes[2]);
  }
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
