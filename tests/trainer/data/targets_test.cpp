#include "trainer/data/targets.h"

#include <cstring>

#include "kernels/random.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "trainer/files/crc32c.h"

namespace ropewalk {
namespace {

// The bytes of the file by its description in targets.h, written independently of TargetWriter.
std::string mask_file(const std::vector<bool>& is_target) {
  std::string checked;
  const uint64_t tokens = is_target.size();
  checked.append(reinterpret_cast<const char*>(&tokens), 8);
  for (size_t i = 0; i < is_target.size(); ++i) {
    if (i % 8 == 0) checked += '\0';
    if (is_target[i]) checked.back() = static_cast<char>(checked.back() | 1 << i % 8);
  }
  const uint32_t version = 1, crc = crc32c(checked);
  std::string file = "RWTARGET";
  file.append(reinterpret_cast<const char*>(&version), 4);
  file.append(reinterpret_cast<const char*>(&crc), 4);
  return file + checked;
}

std::vector<bool> random_mask(int64_t tokens, uint64_t seed) {
  std::vector<bool> mask;
  for (int64_t i = 0; i < tokens; ++i)
    mask.push_back(RandomPermutation(seed, "mask", 100)(static_cast<uint64_t>(i) % 100) < 30);
  return mask;
}

std::string written(const std::vector<std::vector<bool>>& pieces) {
  const TemporaryDirectory folder;
  OutputFile file(real_file_system(FileOwner::kData), folder / "m");
  TargetWriter writer(file);
  for (const std::vector<bool>& piece : pieces) writer.append(piece);
  writer.finish();
  file.close();
  return read_file(folder / "m");
}

// Every number of tokens up to a few bytes, and more than the writer holds at a time; the bits do not depend on the
// pieces.
TEST(Targets, TheFileIsAsDescribed) {
  for (const int64_t tokens : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, (1 << 23) + 13}) {
    const std::vector<bool> mask = random_mask(tokens, 3);
    EXPECT_EQ(written({mask}), mask_file(mask)) << tokens;
    const auto third = mask.begin() + tokens / 3;
    EXPECT_EQ(written({{mask.begin(), third}, {}, {third, mask.end()}}), mask_file(mask)) << tokens;
  }
}

TEST(Targets, ReadingGivesEveryBit) {
  const TemporaryDirectory folder;
  for (int64_t tokens = 0; tokens < 40; ++tokens) {
    const std::vector<bool> expected = random_mask(tokens, 4);
    write_file(folder / "m", mask_file(expected));
    const TargetMask mask(folder / "m", tokens);
    for (int64_t begin = 0; begin <= tokens; ++begin) {
      int64_t count = 0;
      for (int64_t end = begin; end <= tokens; ++end) {
        const auto first = std::find(expected.begin() + begin, expected.begin() + end, true) - expected.begin();
        EXPECT_EQ(mask.find(begin, end), first);
        EXPECT_EQ(mask.count(begin, end), count);
        if (end < tokens) count += expected[static_cast<size_t>(end)];
      }
      if (begin < tokens) {
        EXPECT_EQ(mask[begin], expected[static_cast<size_t>(begin)]);
      }
    }
  }
}

TEST(Targets, ADamagedFileIsRefused) {
  const TemporaryDirectory folder;
  const std::string name = folder / "m", good = mask_file(random_mask(13, 5));
  const auto refused = [&](const std::string& bytes, int64_t tokens, const std::string& why) {
    write_file(name, bytes);
    expect_error<DataError>([&] { TargetMask(name, tokens); }, {name, why, "again"});
  };
  for (size_t length = 0; length < good.size(); ++length)
    refused(good.substr(0, length), 13, length < 24 ? "fewer than the 24 of its header" : "a mask of 13 tokens has 26");
  refused(good + '\0', 13, "has 27 bytes; a mask of 13 tokens has 26");
  refused(good, 14, "is the mask of 13 tokens, but the index beside it has 14");
  for (size_t i = 0; i < good.size(); ++i) {
    std::string damaged = good;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    refused(damaged, 13,
            i < 8    ? "does not begin with RWTARGET"
            : i < 12 ? "format version"
            : i < 16 ? "checksum"
            : i < 24 ? "is the mask of"
                     : "checksum");
  }
  std::vector<bool> longer = random_mask(13, 5);
  longer.resize(16, true);
  std::string behind = mask_file(longer);  // of 16 tokens; as one of 13 it has targets behind the last
  const uint64_t tokens = 13;
  std::memcpy(behind.data() + 16, &tokens, 8);
  const uint32_t crc = crc32c(std::string_view(behind).substr(16));
  std::memcpy(behind.data() + 12, &crc, 4);
  refused(behind, 13, "behind its last token");
}

TEST(Targets, ADatasetMayHaveNone) {
  const TemporaryDirectory folder;
  EXPECT_EQ(open_target_mask(folder / "x", 4), nullptr);
  write_file(folder / "x.targets", mask_file({true, false, true, true}));
  EXPECT_EQ(open_target_mask(folder / "x", 4)->count(0, 4), 3);
}

}  // namespace
}  // namespace ropewalk
