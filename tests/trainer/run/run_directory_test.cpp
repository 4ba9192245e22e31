// Which files in a run's directory a run may replace, and which job may write there.
#include "trainer/run/run_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <thread>

#include "tests/support/temporary_directory.h"
#include "tests/trainer/files/faulty_file_system.h"
#include "trainer/files/output_file.h"

namespace ropewalk {
namespace {

using std::chrono::milliseconds;

constexpr const char* kConfig = "model {\n  width: 32\n}\n";

// The messages of a run that starts in a directory, and its error if it cannot start.
struct Begun {
  explicit Begun(const std::filesystem::path& path, const std::string& config = kConfig,
                 FileSystem& system = real_file_system(), milliseconds patience = milliseconds(0)) {
    const auto tell = [this](const std::string& line) { told += line + "\n"; };
    try {
      directory.emplace(path, config, patience, tell, system);
      directory->write_config(tell);
    } catch (const ConfigurationError& failure) {
      error = failure.what();
    }
  }
  std::string told, error;
  std::optional<RunDirectory> directory;
};

TEST(RunDirectory, ReplacesTheConfigurationThatARunWrote) {
  const TemporaryDirectory scratch;
  EXPECT_EQ(Begun(scratch / "a/b").error, "");
  const std::string first = read_file(scratch / "a/b/config.textproto");
  EXPECT_TRUE(first.starts_with("# Written by ropewalk train") && first.ends_with(std::string("\n") + kConfig))
      << first;
  const Begun again(scratch / "a/b", "model {\n  width: 64\n}\n");
  EXPECT_EQ(again.error + again.told, "");
  EXPECT_TRUE(read_file(scratch / "a/b/config.textproto").ends_with("width: 64\n}\n"));
}

TEST(RunDirectory, TakesOverWhatHasNoMarkButCanOnlyBeOfARun) {
  for (const char* before : {"", kConfig}) {  // empty (the disk was full), and the same text without a mark
    const TemporaryDirectory scratch;
    write_file(scratch / "config.textproto", before);
    const Begun run(scratch.path());
    EXPECT_EQ(run.error + run.told, "");
    EXPECT_TRUE(read_file(scratch / "config.textproto").ends_with(kConfig));
  }
}

TEST(RunDirectory, NeverReplacesAFileOfTheUsers) {
  for (const std::string& name : {std::string("config.textproto"), std::string("lock")}) {
    for (const std::string& text : {std::string("# my model\n"), std::string("x"), std::string("# Written by me\n")}) {
      const TemporaryDirectory scratch;
      write_file(scratch / name, text);
      const Begun run(scratch.path());
      EXPECT_NE(run.error.find((scratch / name).string() + " is in the way"), std::string::npos) << run.error;
      EXPECT_NE(run.error.find("rename it"), std::string::npos) << run.error;
      EXPECT_EQ(read_file(scratch / name), text);
    }
  }
}

TEST(RunDirectory, WritesThroughNoLink) {
  for (const std::string& name : {std::string("config.textproto"), std::string("lock")}) {
    for (const char* victim :
         {"", "mine", "process 1 on host", "# Written by ropewalk train, and again by every start; x\n"}) {
      const TemporaryDirectory scratch;
      write_file(scratch / "victim", victim);
      std::filesystem::create_directory(scratch / "run");
      std::filesystem::create_symlink(scratch / "victim", scratch / "run" / name);
      const Begun run(scratch / "run");
      EXPECT_NE(run.error.find(name), std::string::npos) << run.error;
      EXPECT_EQ(read_file(scratch / "victim"), victim);
      EXPECT_TRUE(std::filesystem::is_symlink(scratch / "run" / name));
    }
  }
}

TEST(RunDirectory, RefusesADirectoryThatCannotBeWritten) {
  const TemporaryDirectory scratch;
  std::filesystem::create_symlink(scratch / "nowhere", scratch / "checkpoints");
  Begun run(scratch.path());
  EXPECT_THROW(run.directory->check_writable("checkpoints"), ConfigurationError);
  EXPECT_NO_THROW(run.directory->check_writable("events"));

  const TemporaryDirectory mounted;  // a place where root cannot write either
  if (mount("tmpfs", mounted.path().c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "only root can mount";
  EXPECT_EQ(Begun(mounted.path()).error, "");
  EXPECT_EQ(mount("tmpfs", mounted.path().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, ""), 0);
  EXPECT_NE(Begun(mounted.path()).error.find("Read-only file system"), std::string::npos);
  umount2(mounted.path().c_str(), MNT_DETACH);
}

TEST(RunDirectory, KeepsAConfigurationThatWasEdited) {
  const TemporaryDirectory scratch;
  Begun(scratch.path(), "a: 1\n");
  const std::string edited = read_file(scratch / "config.textproto") + "# a note\n";
  write_file(scratch / "config.textproto", edited);
  const Begun run(scratch.path());
  EXPECT_NE(run.told.find("was edited since a run wrote it; it is kept as"), std::string::npos) << run.told;
  EXPECT_EQ(read_file(scratch / "config.textproto.1"), edited);
  EXPECT_TRUE(read_file(scratch / "config.textproto").ends_with(kConfig));
}

// Whichever call fails, or if the power fails at it: afterwards the old or the new configuration exists and is
// complete.
TEST(RunDirectory, TheConfigurationIsWholeWhateverFails) {
  const std::string other = "model {\n  width: 64\n}\n";
  for (const int reason : {EIO, ENOSPC}) {
    for (int64_t call = 0;; ++call) {
      SCOPED_TRACE(call);
      const TemporaryDirectory scratch;
      Begun(scratch.path());
      PowerCutFileSystem disk(scratch.path(), call);
      CallCounter counter(call, CallCounter::Mode::kFromThereOn, reason);
      FaultyFileSystem full([&](const char*) { return counter(); });
      bool failed = false;
      try {
        const Begun run(scratch.path(), other, reason == EIO ? static_cast<FileSystem&>(disk) : full);
        failed = !run.error.empty();
      } catch (const FileError&) {
        failed = true;
      }
      if (reason == EIO) disk.cut();
      const std::string text = read_file(scratch / "config.textproto");
      EXPECT_TRUE(text.ends_with(kConfig) || text.ends_with(other)) << text;
      EXPECT_TRUE(failed || text.ends_with(other)) << text;
      EXPECT_EQ(Begun(scratch.path(), other).error, "");
      EXPECT_FALSE(std::filesystem::exists(beside(scratch / "config.textproto")));
      ASSERT_FALSE(HasFailure());
      if (!(reason == EIO ? disk.reached() : counter.reached())) break;
    }
  }
}

TEST(RunDirectory, ADiskWithoutRoomForALockIsNoReasonNotToStart) {
  const TemporaryDirectory scratch;
  FaultyFileSystem full([](const char* call) { return call == std::string("create") ? ENOSPC : 0; });
  const RunDirectory directory(
      scratch.path(), kConfig, milliseconds(0), [](const std::string&) {}, full);
  EXPECT_FALSE(directory.locked());
}

TEST(RunDirectory, SaysWhereNamesCannotBeMadeDurable) {
  for (const int reason : {EINVAL, ENOTSUP, EBADF}) {
    const TemporaryDirectory scratch;
    FaultyFileSystem without([&](const char* call) { return call == std::string("fsync") ? reason : 0; });
    const RunDirectory directory(
        scratch / "run", kConfig, milliseconds(0), [](const std::string&) {}, without);
    EXPECT_FALSE(directory.durable());
  }
  const TemporaryDirectory scratch;
  EXPECT_TRUE(RunDirectory(scratch.path(), kConfig, milliseconds(0), [](const std::string&) {}).durable());
}

// A child that holds the lock until it is killed, like a rank of a job that is ending.
class Holder {
 public:
  explicit Holder(const std::filesystem::path& directory) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    child_ = fork();
    if (child_ == 0) {
      const RunDirectory held(directory, kConfig, milliseconds(0), [](const std::string&) {});
      (void)!write(ready[1], "x", 1);
      for (;;) pause();
    }
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
  }
  ~Holder() { end(); }
  void end() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    child_ = 0;
  }
  pid_t process() const { return child_; }

 private:
  pid_t child_;
};

TEST(RunDirectory, WaitsForAJobThatIsEnding) {
  const TemporaryDirectory scratch;
  for (const auto& [holds, says] : {std::pair(milliseconds(300), false), std::pair(milliseconds(1500), true)}) {
    Holder holder(scratch.path());
    const std::string named = fmt::format("process {} ", holder.process());
    std::thread ends([&, holds = holds] {
      std::this_thread::sleep_for(holds);
      holder.end();
    });
    const Begun run(scratch.path(), kConfig, real_file_system(), std::chrono::seconds(20));
    ends.join();
    EXPECT_EQ(run.error, "");
    EXPECT_EQ(run.told.find(named) != std::string::npos, says) << run.told;
    EXPECT_EQ(run.told.empty(), !says) << run.told;
    EXPECT_TRUE(run.directory->locked());
    EXPECT_NE(read_file(scratch / "lock").find(fmt::format("process {} on", getpid())), std::string::npos);
  }
}

TEST(RunDirectory, NamesWhoStays) {
  const TemporaryDirectory scratch;
  const Holder holder(scratch.path());
  const Begun run(scratch.path(), kConfig, real_file_system(), milliseconds(200));
  EXPECT_NE(run.error.find("another job is writing there"), std::string::npos) << run.error;
  EXPECT_NE(run.error.find(fmt::format("process {} on", holder.process())), std::string::npos) << run.error;
}

}  // namespace
}  // namespace ropewalk
