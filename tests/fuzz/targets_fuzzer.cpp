// The input is a PREFIX.targets, for an index with the number of tokens that its header names (of any other number it
// is refused). It is refused with a DataError; or its bits are those of the file. Because almost no input has the right
// checksum, each is tried with its own and with the right one.
#include <cstdint>
#include <cstring>
#include <string>

#include "kernels/error.h"
#include "tests/fuzz/memory_file.h"
#include "trainer/data/targets.h"
#include "trainer/files/crc32c.h"

namespace ropewalk {
namespace {

// Finds every target by steps of `find`, and compares them and their count with the bits.
void check_bits(const TargetMask& mask, const std::string& file, int64_t tokens) {
  int64_t count = 0, next = mask.find(0, tokens);
  for (int64_t token = 0; token < tokens; ++token) {
    const bool bit = file[static_cast<size_t>(24 + token / 8)] >> token % 8 & 1;
    CHECK(mask[token] == bit && (token == next) == bit, "bit {}", token);
    if (bit) next = mask.find(token + 1, tokens);
    count += bit;
  }
  CHECK(next == tokens && mask.count(0, tokens) == count, "{} targets", count);
}

void read(const std::string& file) {
  uint64_t tokens = 0;
  if (file.size() >= 24) std::memcpy(&tokens, file.data() + 16, 8);
  if (tokens > uint64_t{1} << 62) return;  // more than any index has
  OneFile system(file);
  try {
    const TargetMask mask("input", static_cast<int64_t>(tokens), system);
    check_bits(mask, file, static_cast<int64_t>(tokens));
  } catch (const DataError&) {  // a clear refusal; any other exception is a fault
  }
  try {
    const TargetMask mask("input", static_cast<int64_t>(tokens) + 1, system);
    CHECK(false, "it is accepted for another number of tokens");
  } catch (const DataError&) {
  }
}

}  // namespace
}  // namespace ropewalk

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ropewalk;
  std::string file(reinterpret_cast<const char*>(data), size);
  read(file);
  if (size < 24) return 0;
  const uint32_t crc = crc32c(std::string_view(file).substr(16));
  std::memcpy(file.data() + 12, &crc, 4);
  read(file);
  return 0;
}
