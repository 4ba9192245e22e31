// Known answers, and both implementations against each other.
#include "trainer/files/crc32c.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ropewalk {
namespace {

// The check value of the CRC catalogue, and the examples of RFC 3720, appendix B.4.
TEST(Crc32c, KnownAnswers) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\x00')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string ascending, descending;
  for (int i = 0; i < 32; ++i) {
    ascending += static_cast<char>(i);
    descending += static_cast<char>(31 - i);
  }
  EXPECT_EQ(crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(crc32c(descending), 0x113fdb5cu);
}

std::vector<uint8_t> some_bytes(size_t count) {
  std::vector<uint8_t> bytes(count);
  uint32_t state = 12345;
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
  return bytes;
}

TEST(Crc32c, TablesGiveTheSameAtEveryLengthAndAlignment) {
  EXPECT_EQ(crc32c_by_tables("123456789", 9), 0xe3069283u);
  const std::vector<uint8_t> bytes = some_bytes(200);
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t count = 0; begin + count <= bytes.size(); ++count) {
      ASSERT_EQ(crc32c(&bytes[begin], count), crc32c_by_tables(&bytes[begin], count)) << begin << " " << count;
    }
  }
}

// The instruction works on three lanes of 2048 bytes at a time.
TEST(Crc32c, TablesGiveTheSameAroundBlocksOfLanes) {
  const std::vector<uint8_t> bytes = some_bytes(20'000);
  for (const size_t count : {6143, 6144, 6145, 6151, 12'287, 12'288, 12'290, 18'431, 18'432, 19'990})
    for (const size_t begin : {0, 1, 7}) {
      ASSERT_EQ(crc32c(&bytes[begin], count), crc32c_by_tables(&bytes[begin], count)) << begin << " " << count;
      Crc32c crc;
      crc.update(&bytes[begin], 100);
      crc.update(&bytes[begin + 100], count - 100);
      ASSERT_EQ(crc.value(), crc32c_by_tables(&bytes[begin], count)) << begin << " " << count;
    }
}

TEST(Crc32c, PiecesGiveTheSameAsTheWhole) {
  const std::vector<uint8_t> bytes = some_bytes(100);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    Crc32c crc;
    crc.update(bytes.data(), cut);
    crc.update(bytes.data() + cut, bytes.size() - cut);
    ASSERT_EQ(crc.value(), crc32c(bytes.data(), bytes.size())) << cut;
  }
}

TEST(Crc32c, EveryFlippedBitShows) {
  std::vector<uint8_t> bytes = some_bytes(64);
  const uint32_t whole = crc32c(bytes.data(), bytes.size());
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    ASSERT_NE(crc32c(bytes.data(), bytes.size()), whole) << bit;
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
}

}  // namespace
}  // namespace ropewalk
