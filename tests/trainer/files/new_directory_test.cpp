// A directory that is complete or absent.
#include "trainer/files/new_directory.h"

#include <gtest/gtest.h>
#include <sys/file.h>

#include "tests/support/expect_error.h"
#include "tests/support/small_disk.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/files/faulty_file_system.h"
#include "trainer/files/output_file.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

TEST(NewDirectory, AppearsWithItsName) {
  const TemporaryDirectory directory;
  {
    NewDirectory made(real_file_system(), directory / "new");
    EXPECT_EQ(made.temporary(), beside(directory / "new"));
    write_file(made.temporary() / "file", "contents");
    EXPECT_EQ(directory.names(), Names{"new.ropewalk-tmp"});
    EXPECT_TRUE(made.take_name());
    EXPECT_EQ(directory.names(), Names{"new"});
  }
  EXPECT_EQ(read_file(directory / "new" / "file"), "contents");
}

TEST(NewDirectory, DisappearsWithoutIt) {
  const TemporaryDirectory directory;
  {
    NewDirectory made(real_file_system(), directory / "a" / "new");
    fs::create_directories(made.temporary() / "folder" / "deeper");
    write_file(made.temporary() / "folder" / "deeper" / "file", "contents");
    fs::create_symlink(directory.path(), made.temporary() / "link");
  }
  EXPECT_EQ(list_directory(directory / "a"), Names());  // the parents stay
}

TEST(NewDirectory, IsNotMadeWhereSomethingExists) {
  const TemporaryDirectory directory;
  write_file(directory / "file", "kept");
  fs::create_directory(directory / "folder");
  fs::create_symlink("nowhere", directory / "link");
  const Names before = directory.names();
  for (const char* name : {"file", "folder", "folder/", "folder/.", "link"})
    expect_error<FileError>([&] { NewDirectory(real_file_system(), directory / name); },
                            {"exists; remove it, or give another name"});
  expect_error<DataError>([&] { NewDirectory(real_file_system(FileOwner::kData), directory / "file"); }, {"exists"});
  expect_error<FileError>([&] { NewDirectory(real_file_system(), directory / "file" / "x"); }, {"File exists"});
  expect_error<FileError>([&] { NewDirectory(real_file_system(), ""); }, {"the name of the output is empty"});
  EXPECT_EQ(directory.names(), before);
}

TEST(NewDirectory, DoesNotReplaceWhatAppearsMeanwhile) {
  const TemporaryDirectory directory;
  for (const char* kind : {"file", "folder"}) {
    fs::remove_all(directory / "new");
    {
      NewDirectory made(real_file_system(), directory / "new");
      if (kind == std::string("file"))
        write_file(directory / "new", "kept");
      else
        fs::create_directory(directory / "new");
      expect_error<FileError>([&] { made.take_name(); }, {"new exists; remove it, or give another name"});
    }
    EXPECT_EQ(directory.names(), Names{"new"});
  }
  EXPECT_EQ(list_directory(directory / "new"), Names());
}

TEST(NewDirectory, HasOneWriter) {
  const TemporaryDirectory directory;
  {
    NewDirectory first(real_file_system(), directory / "new");
    write_file(first.temporary() / "file", "first");
    expect_error<FileError>([&] { NewDirectory(real_file_system(), directory / "new"); },
                            {"another process is writing " + (directory / "new").string()});
    EXPECT_EQ(read_file(first.temporary() / "file"), "first");
    first.take_name();
  }
  EXPECT_EQ(read_file(directory / "new" / "file"), "first");
}

// What the holder renames between another's open() and flock().
TEST(NewDirectory, NoticesThatTheLockedDirectoryGotItsNameMeanwhile) {
  const TemporaryDirectory directory;
  class Late : public FileSystem {
   public:
    explicit Late(fs::path path) : path_(std::move(path)) {}
    int flock(int file, int operation) override {
      fs::rename(beside(path_), path_);
      return FileSystem::flock(file, operation);
    }

   private:
    fs::path path_;
  };
  Late late(directory / "new");
  fs::create_directory(beside(directory / "new"));
  write_file(beside(directory / "new") / "file", "the other's");
  expect_error<FileError>([&] { NewDirectory(late, directory / "new"); }, {"another process is writing"});
  EXPECT_EQ(read_file(directory / "new" / "file"), "the other's");
}

TEST(NewDirectory, RemovesWhatAKilledProcessHasLeft) {
  const TemporaryDirectory directory;
  const fs::path left = beside(directory / "new");
  fs::create_directories(left / "folder");
  write_file(left / "folder" / "half", "h");
  write_file(left / "half", "h");
  {
    NewDirectory made(real_file_system(), directory / "new");
    EXPECT_EQ(list_directory(made.temporary()), Names());
    made.take_name();
  }
  EXPECT_EQ(directory.names(), Names{"new"});
}

// Without locks, a leftover may be another's work.
TEST(NewDirectory, WithoutLocksKeepsALeftover) {
  const TemporaryDirectory directory;
  FaultyFileSystem no_locks([](const char* call) { return call == std::string("flock") ? ENOLCK : 0; });
  fs::create_directory(beside(directory / "new"));
  expect_error<FileError>([&] { NewDirectory(no_locks, directory / "new"); },
                          {"new.ropewalk-tmp exists, and this file system has no locks"});
  EXPECT_EQ(directory.names(), Names{"new.ropewalk-tmp"});
  fs::remove(beside(directory / "new"));
  NewDirectory(no_locks, directory / "new").take_name();
  EXPECT_EQ(directory.names(), Names{"new"});
}

TEST(NewDirectory, DoesNotFollowALinkAtItsTemporaryName) {
  const TemporaryDirectory directory;
  fs::create_directory(directory / "mine");
  write_file(directory / "mine" / "file", "kept");
  fs::create_directory_symlink("mine", beside(directory / "new"));
  expect_error<FileError>([&] { NewDirectory(real_file_system(), directory / "new"); }, {"cannot open"});
  EXPECT_EQ(read_file(directory / "mine" / "file"), "kept");
}

// Of making the directory and of giving it its name.
TEST(NewDirectory, EveryCallThatFailsLeavesNothing) {
  for (int call = 0;; ++call) {
    const TemporaryDirectory directory;
    CallCounter counter(call, CallCounter::Mode::kOnce, EIO);
    FaultyFileSystem faulty([&](const char* name) { return name == std::string("flock") ? 0 : counter(); });
    bool failed = false;
    try {
      NewDirectory(faulty, directory / "new").take_name();
    } catch (const FileError&) {
      failed = true;
    }
    if (!counter.reached()) {
      EXPECT_GE(call, 8);
      break;
    }
    EXPECT_EQ(directory.names(), failed ? Names() : Names{"new"}) << "call " << call;
  }
}

TEST(NewDirectory, TellsOfTooLittleRoom) {
  const TemporaryDirectory directory;
  const SmallDisk disk(directory.path(), "64k");
  if (!disk.mounted()) GTEST_SKIP() << "only root can mount";
  const NewDirectory made(real_file_system(), directory / "new");
  EXPECT_NO_THROW(made.require_room(64 << 10));
  expect_error<FileError>([&] { made.require_room((64 << 10) + 1); },
                          {(directory / "new").string() + " needs 64.0 KiB, and its file system has 64.0 KiB free"});
}

TEST(RemoveTree, RemovesWhatItCanAndFollowsNoLinks) {
  const TemporaryDirectory directory;
  const auto make = [&] {
    fs::create_directories(directory / "tree" / "a" / "b");
    for (const char* name : {"1", "a/2", "a/b/3", "z"}) write_file(directory / "tree" / name, "");
    fs::create_directory(directory / "mine");
    write_file(directory / "mine" / "file", "kept");
    fs::create_directory_symlink(directory / "mine", directory / "tree" / "link");
  };
  make();
  remove_tree(real_file_system(), directory / "tree");
  EXPECT_EQ(directory.names(), Names{"mine"});
  EXPECT_EQ(read_file(directory / "mine" / "file"), "kept");
  fs::remove_all(directory / "mine");
  make();
  int unlinks = 0;
  FaultyFileSystem faulty([&](const char* call) { return call == std::string("unlink") && ++unlinks == 3 ? EIO : 0; });
  expect_error<FileError>([&] { remove_tree(faulty, directory / "tree"); }, {"cannot remove", "a/b/3: Input/output"});
  EXPECT_EQ(list_directory(directory / "tree"), Names{"a"});
  EXPECT_EQ(list_directory(directory / "tree" / "a"), Names{"b"});
}

}  // namespace
}  // namespace ropewalk
