// A dataset with a mask of targets replaces one without, and the other way round: whatever call fails, and whenever the
// writer is killed or the power is cut, an index that is there belongs to the .bin and to the mask, or to no mask.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/files/faulty_file_system.h"
#include "trainer/data/indexed_dataset.h"
#include "trainer/data/indexed_writer.h"

namespace ropewalk {
namespace {

using Targets = IndexedWriter::Targets;

constexpr int64_t kTokens = 24;

// Each token has the value; with a mask, each token whose position is a multiple of value + 1 is a target.
struct Version {
  int32_t value;
  Targets targets;
  bool operator==(const Version&) const = default;
};

std::vector<bool> mask_of(int32_t value) {
  std::vector<bool> mask;
  for (int64_t i = 0; i < kTokens; ++i) mask.push_back(i % (value + 1) == 0);
  return mask;
}

void write(const std::string& prefix, const Version& version, FileSystem& system) {
  IndexedWriter writer(prefix, 100, indexed::kMaxSequenceTokens, system, version.targets);
  writer.append(std::vector<int32_t>(kTokens, version.value));
  if (version.targets == Targets::kMasked) writer.append_targets(mask_of(version.value));
  writer.end_document();
  writer.finish();
}

// What is there; null if there is no index. Fails if it is not a whole version.
std::optional<Version> version_at(const std::string& prefix) {
  if (!std::filesystem::exists(prefix + ".idx")) return std::nullopt;
  const IndexedDataset dataset(prefix, 100);
  std::vector<int32_t> tokens(kTokens);
  dataset.read(0, tokens);
  EXPECT_EQ(tokens, std::vector<int32_t>(kTokens, tokens[0]));
  const auto mask = open_target_mask(prefix, dataset.tokens());
  if (!mask) return Version{tokens[0], Targets::kAll};
  std::vector<bool> bits;
  for (int64_t i = 0; i < kTokens; ++i) bits.push_back((*mask)[i]);
  EXPECT_EQ(bits, mask_of(tokens[0])) << "the mask of another .bin";
  return Version{tokens[0], Targets::kMasked};
}

class MaskedWriter : public testing::TestWithParam<std::tuple<Targets, Targets>> {
 protected:
  const Version old_{1, std::get<0>(GetParam())}, new_{2, std::get<1>(GetParam())};
  FileSystem& disk_ = real_file_system(FileOwner::kData);

  // The old version, the new one or none, and a next writer leaves only its own files.
  void expect_whole(const TemporaryDirectory& folder) {
    const std::optional<Version> version = version_at(folder / "x");
    EXPECT_TRUE(!version || *version == old_ || *version == new_);
    write(folder / "x", old_, disk_);
    const std::vector<std::string> names = old_.targets == Targets::kAll
                                               ? std::vector<std::string>{"x.bin", "x.idx"}
                                               : std::vector<std::string>{"x.bin", "x.idx", "x.targets"};
    EXPECT_EQ(folder.names(), names);
    EXPECT_EQ(version_at(folder / "x"), old_);
  }
};

TEST_P(MaskedWriter, ReplacesTheOther) {
  const TemporaryDirectory folder;
  write(folder / "x", old_, disk_);
  write(folder / "x", new_, disk_);
  EXPECT_EQ(version_at(folder / "x"), new_);
  expect_whole(folder);
}

TEST_P(MaskedWriter, AnyCallMayFail) {
  int64_t at = 0;
  for (bool done = false; !done; ++at) {
    const TemporaryDirectory folder;
    write(folder / "x", old_, disk_);
    CallCounter counter(at, CallCounter::Mode::kOnce, EIO);
    FaultyFileSystem faulty([&](const char*) { return counter(); }, FileOwner::kData);
    try {
      write(folder / "x", new_, faulty);
    } catch (const DataError&) {
    }
    done = !counter.reached();
    expect_whole(folder);
  }
  EXPECT_GT(at, 20);
}

TEST_P(MaskedWriter, MayBeKilledAtAnyCall) {
  int at = 0;
  for (bool done = false; !done; ++at) {
    const TemporaryDirectory folder;
    write(folder / "x", old_, disk_);
    const pid_t child = ::fork();
    if (child == 0) {
      int calls = 0;
      FaultyFileSystem faulty(
          [&](const char*) {
            if (calls++ == at) ::raise(SIGKILL);
            return 0;
          },
          FileOwner::kData);
      write(folder / "x", new_, faulty);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    done = WIFEXITED(status);
    expect_whole(folder);
  }
  EXPECT_GT(at, 20);
}

TEST_P(MaskedWriter, ThePowerMayBeCutAtAnyCall) {
  int64_t at = 0;
  for (bool done = false; !done; ++at) {
    const TemporaryDirectory folder;
    write(folder / "x", old_, disk_);
    PowerCutFileSystem disk(folder.path(), at);
    try {
      write(folder / "x", new_, disk);
    } catch (const Error&) {
    }
    done = !disk.reached();
    disk.cut();
    expect_whole(folder);
  }
  EXPECT_GT(at, 15);
}

INSTANTIATE_TEST_SUITE_P(Versions, MaskedWriter,
                         testing::Combine(testing::Values(Targets::kAll, Targets::kMasked),
                                          testing::Values(Targets::kAll, Targets::kMasked)));

}  // namespace
}  // namespace ropewalk
