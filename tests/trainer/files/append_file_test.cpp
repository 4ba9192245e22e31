// Queued records, partial records, and files that were moved or replaced.
#include "trainer/files/append_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/temporary_directory.h"
#include "tests/trainer/files/faulty_file_system.h"

namespace ropewalk {
namespace {

void append(AppendFile& file, const std::string& record) {
  file.add(record);
  file.flush();
}

TEST(AppendFile, TouchesNothingUntilThereIsARecord) {
  const TemporaryDirectory directory;
  AppendFile file(directory / "a" / "b" / "file");
  file.flush();
  file.sync();
  EXPECT_FALSE(std::filesystem::exists(directory / "a"));
  append(file, "one\n");
  append(file, "two\n");
  EXPECT_EQ(read_file(file.path()), "one\ntwo\n");
}

// Each call fails in turn; afterwards nothing is lost, torn or doubled.
TEST(AppendFile, AnyCallThatFailsLeavesWholeRecordsAndLosesNone) {
  int failures = 0;
  for (int64_t call = 0;; ++call) {
    SCOPED_TRACE(call);
    const TemporaryDirectory directory;
    CallCounter counter(call, CallCounter::Mode::kOnce, EIO);
    bool works = false;
    FaultyFileSystem disk([&](const char* name) { return works || name == std::string("close") ? 0 : counter(); });
    AppendFile file(directory / "runs" / "file", disk);
    for (const char* record : {"one\n", "two\n", "three\n"}) {
      file.add(record);
      try {
        file.sync();
      } catch (const FileError& error) {
        ++failures;
        EXPECT_NE(std::string(error.what()).find(directory.path().string()), std::string::npos) << error.what();
      }
    }
    works = true;
    file.sync();
    EXPECT_EQ(read_file(file.path()), "one\ntwo\nthree\n");
    if (!counter.reached()) break;
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(failures, 8);
}

TEST(AppendFile, AShortWriteThatFailsIsCutOff) {
  class Short : public FileSystem {
   public:
    ssize_t write(int file, const void* data, size_t bytes) override {
      if (full_ && wrote_) return errno = ENOSPC, -1;
      wrote_ = full_;
      return FileSystem::write(file, data, full_ ? 2 : bytes);
    }
    bool full_ = false, wrote_ = false;
  };
  const TemporaryDirectory directory;
  Short disk;
  AppendFile file(directory / "file", disk);
  append(file, "one\n");
  disk.full_ = true;
  EXPECT_THROW(append(file, "two\n"), FileError);
  EXPECT_EQ(read_file(file.path()), "one\n");
  disk.full_ = false;
  append(file, "three\n");
  EXPECT_EQ(read_file(file.path()), "one\ntwo\nthree\n");
}

// A partial record that could not be cut off at once is cut off before the next record is written.
TEST(AppendFile, HalfARecordIsCutOffLater) {
  struct Failing : FileSystem {
    ssize_t write(int file, const void* data, size_t bytes) override {
      if (calls_ == 1) return ++calls_, errno = EIO, -1;
      return FileSystem::write(file, data, calls_++ == 0 ? 2 : bytes);
    }
    int ftruncate(int file, int64_t bytes) override {
      if (cuts_-- > 0) return errno = EIO, -1;
      return FileSystem::ftruncate(file, bytes);
    }
    int calls_ = 9, cuts_ = 0;
  };
  const TemporaryDirectory directory;
  Failing disk;
  AppendFile file(directory / "file", disk);
  append(file, "one\n");
  disk.calls_ = 0, disk.cuts_ = 2;
  EXPECT_THROW(append(file, "two\n"), FileError);
  EXPECT_EQ(read_file(file.path()), "one\ntw");
  EXPECT_THROW(file.flush(), FileError);
  file.flush();
  EXPECT_EQ(read_file(file.path()), "one\ntwo\n");
}

TEST(AppendFile, WhatIsSyncedOutlivesAPowerCut) {
  const TemporaryDirectory directory;
  PowerCutFileSystem disk(directory.path(), 1 << 20);
  AppendFile file(directory / "runs" / "file", disk);
  append(file, "one\n");
  file.sync();
  disk.cut();
  EXPECT_EQ(read_file(file.path()), "one\n");
}

TEST(AppendFile, FollowsTheNameWhenTheFileIsMovedAway) {
  const TemporaryDirectory directory;
  AppendFile file(directory / "file");
  append(file, "one\n");
  std::filesystem::rename(file.path(), directory / "rotated");
  append(file, "two\n");
  EXPECT_EQ(read_file(directory / "rotated"), "one\n");
  EXPECT_EQ(read_file(file.path()), "two\n");
  write_file(directory / "other", "");
  std::filesystem::rename(directory / "other", file.path());
  append(file, "three\n");
  EXPECT_EQ(read_file(file.path()), "three\n");
  std::filesystem::resize_file(file.path(), 0);  // log rotation by copy and truncate
  append(file, "four\n");
  EXPECT_EQ(read_file(file.path()), "four\n");
}

TEST(AppendFile, WritesNoLinkPipeOrDirectory) {
  const TemporaryDirectory directory;
  write_file(directory / "victim", "mine");
  std::filesystem::create_symlink(directory / "victim", directory / "link");
  std::filesystem::create_directory(directory / "directory");
  ASSERT_EQ(mkfifo((directory / "pipe").c_str(), 0666), 0);
  for (const char* name : {"link", "directory", "pipe"}) {
    AppendFile file(directory / name);
    EXPECT_THROW(append(file, "x"), FileError) << name;
    std::filesystem::remove(directory / name);
    file.flush();
    EXPECT_EQ(read_file(directory / name), "x") << "what waited comes when the way is free";
  }
  EXPECT_EQ(read_file(directory / "victim"), "mine");
}

TEST(AppendFile, HoldsNoMoreThanItHasRoomFor) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "file");
  AppendFile file(directory / "file");
  const std::string record(4 << 20, 'x');
  for (int i = 0; i < 6; ++i) file.add(record);
  EXPECT_EQ(file.lost(), 2);
  std::filesystem::remove(directory / "file");
  file.flush();
  EXPECT_EQ(std::filesystem::file_size(file.path()), 4 * record.size());
}

}  // namespace
}  // namespace ropewalk
