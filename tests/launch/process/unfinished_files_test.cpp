// The ends of a process that do not unwind the stack: each removes the unfinished files.
#include "launch/process/unfinished_files.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>

#include "launch/process/process.h"
#include "launch/process/signals.h"
#include "tests/support/temporary_directory.h"

namespace ropewalk {
namespace {

class UnfinishedFilesTest : public testing::Test {
 protected:
  std::vector<std::string> written() const {
    const std::vector<std::string> paths = {folder_ / "data", folder_ / "lock"};
    for (const std::string& path : paths) write_file(path, "half");
    return paths;
  }
  bool exist() const { return !std::filesystem::is_empty(folder_.path()); }

  TemporaryDirectory folder_;
};

TEST_F(UnfinishedFilesTest, AreRemovedUnlessTheirOwnerHasThem) {
  UnfinishedFiles::remove();  // nothing to do
  UnfinishedFiles files(written());
  EXPECT_TRUE(files.release());
  UnfinishedFiles::remove();
  EXPECT_TRUE(exist());
  EXPECT_TRUE(files.release());
  { const UnfinishedFiles left(written()); }
  UnfinishedFiles::remove();
  EXPECT_TRUE(exist());
}

TEST_F(UnfinishedFilesTest, AreRemovedOnce) {
  UnfinishedFiles files(written());
  errno = EAGAIN;
  UnfinishedFiles::remove();
  EXPECT_EQ(errno, EAGAIN) << "a signal handler must not change it";
  EXPECT_FALSE(exist());
  written();  // by another process
  UnfinishedFiles::remove();
  EXPECT_FALSE(files.release());
  EXPECT_TRUE(exist());
}

TEST_F(UnfinishedFilesTest, AreRemovedByASignalThatAsksToStop) {
  for (const auto waits : {StopSignals::Waits::kGoOn, StopSignals::Waits::kInterrupted}) {
    const StopSignals signals(waits);
    UnfinishedFiles files(written());
    std::raise(SIGTERM);
    EXPECT_FALSE(exist());
    EXPECT_FALSE(files.release());
  }
}

TEST_F(UnfinishedFilesTest, HaveOneOwner) {
  const UnfinishedFiles files(written());
  EXPECT_THROW(UnfinishedFiles(std::vector<std::string>()), std::logic_error);
}

using UnfinishedFilesDeathTest = UnfinishedFilesTest;

// A wait has failed: the process ends on the spot.
TEST_F(UnfinishedFilesDeathTest, AreRemovedWhenAPeerHasFailed) {
  const auto fail = [&] {
    Process process({}, std::chrono::seconds(1));
    const UnfinishedFiles files(written());
    process.failure_handler()(PeerError("rank 1 has not answered"));
  };
  EXPECT_EXIT(fail(), testing::ExitedWithCode(5), "rank 1 has not answered");
  EXPECT_FALSE(exist());
}

}  // namespace
}  // namespace ropewalk
