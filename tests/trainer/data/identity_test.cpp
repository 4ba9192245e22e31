#include "trainer/data/identity.h"

#include <filesystem>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"

namespace ropewalk {
namespace {

std::vector<DataIdentity> identities(const std::vector<std::string>& prefixes) {
  std::vector<Stage> stages;
  for (const std::string& prefix : prefixes) stages.push_back({.prefix = prefix});
  return identities_of(stages);
}

// The bytes of a large dataset's file, with a different byte at `at`.
void write_large(const std::string& path, int64_t size, int64_t at) {
  std::string bytes(static_cast<size_t>(size), 'x');
  if (at >= 0) bytes[static_cast<size_t>(at)] = 'y';
  write_file(path, bytes);
}

TEST(DataIdentity, IsOfTheBytesAndNotOfTheFile) {
  const TemporaryDirectory folder;
  for (const char* prefix : {"a", "b"}) {
    write_file(folder / (std::string(prefix) + ".idx"), "index");
    write_file(folder / (std::string(prefix) + ".bin"), "tokens");
  }
  const std::vector<DataIdentity> both = identities({folder / "a", folder / "b", folder / "a"});
  ASSERT_EQ(both.size(), 2u);  // each prefix once
  EXPECT_EQ(both[0].token_bytes, 6);
  DataIdentity renamed = both[1];
  renamed.prefix = both[0].prefix;
  EXPECT_EQ(renamed, both[0]);
  write_file(folder / "b.idx", "");
  EXPECT_EQ(identities({folder / "b"})[0].index_bytes, 0);
  EXPECT_EQ(both[0].target_bytes, 0);
  write_file(folder / "a.targets", "mask");
  EXPECT_EQ(identities({folder / "a"})[0].target_bytes, 4);
  std::filesystem::remove(folder / "b.bin");
  expect_error<DataError>([&] { identities({folder / "b"}); }, {"b.bin"});
}

// Up to 16 MiB every byte counts; above, the first and last blocks, and blocks in between.
TEST(DataIdentity, SeesWhatChanged) {
  const TemporaryDirectory folder;
  write_file(folder / "x.idx", "");
  const int64_t whole = 16 << 20, large = (20 << 20) + 12345;
  for (const int64_t size : {int64_t{1}, int64_t{65536}, int64_t{65537}, whole, large}) {
    write_large(folder / "x.bin", size, -1);
    const std::vector<DataIdentity> before = identities({folder / "x"});
    EXPECT_EQ(before[0].token_bytes, size);
    for (const int64_t at : {int64_t{0}, size / 2, size - 1}) {
      if (size == large && at == size / 2) continue;  // between two blocks, perhaps
      write_large(folder / "x.bin", size, at);
      EXPECT_NE(identities({folder / "x"}), before) << at << " of " << size;
    }
  }
  // Other text changes all parts of the identity.
  write_large(folder / "x.bin", large, -1);
  const std::vector<DataIdentity> before = identities({folder / "x"});
  std::string bytes(static_cast<size_t>(large), 'x');
  for (size_t i = 1 << 20; i < 2 << 20; ++i) bytes[i] = 'y';
  write_file(folder / "x.bin", bytes);
  EXPECT_NE(identities({folder / "x"}), before);
}

TEST(DataIdentity, ChangesAreToldByFieldAndStage) {
  const std::vector<Stage> stages = {
      {.prefix = "a"}, {.first_step = 10, .prefix = "b"}, {.first_step = 20, .prefix = "a"}};
  const std::vector<DataIdentity> before = {{"a", 10, 100, 1, 2, 0, 0}, {"b", 20, 200, 3, 4, 0, 0}};
  EXPECT_TRUE(data_changes(before, before, stages, 30).empty());
  EXPECT_TRUE(data_changes({}, before, stages, 30).empty()) << "of a checkpoint that does not know";
  std::vector<DataIdentity> now = before;
  now[0].token_bytes = 101;
  now[1].index_crc32c = 5;
  const std::string a = "changed since the checkpoint: the data behind data.prefix: a.bin: 100 bytes -> 101 bytes";
  const std::string b = "changed since the checkpoint: the data behind training.stages.0.prefix: b.idx: other contents";
  EXPECT_EQ(data_changes(before, now, stages, 11), (std::vector<std::string>{"warning: " + a, "warning: " + b}));
  EXPECT_EQ(data_changes(before, now, stages, 10), (std::vector<std::string>{"warning: " + a, b}));
  now = before;
  now[0].target_bytes = 30;
  EXPECT_EQ(
      data_changes(before, now, stages, 1),
      (std::vector<std::string>{"warning: changed since the checkpoint: the data behind data.prefix: a.targets: 0 "
                                "bytes -> 30 bytes"}));
}

TEST(DataIdentity, CoversTheDatasetsOfABlend) {
  const TemporaryDirectory folder;
  for (const char* file : {"a.idx", "a.bin", "b.idx", "b.bin"}) write_file(folder / file, file);
  const std::vector<Stage> stages = {{.prefix = folder / "a"},
                                     {.first_step = 10, .blend = {{folder / "a", 1}, {folder / "b", 2}}}};
  const std::vector<DataIdentity> before = identities_of(stages);
  ASSERT_EQ(before.size(), 2u);
  EXPECT_EQ(before[1].prefix, folder / "b");
  write_file(folder / "b.bin", "changed");
  const std::vector<std::string> lines = data_changes(before, identities_of(stages), stages, 10);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].find("changed since the checkpoint: the data behind training.stages.0.blend.1.prefix: "), 0u);
}

}  // namespace
}  // namespace ropewalk
