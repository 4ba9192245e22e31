// Error messages of the file classes.
#include "trainer/files/file_system.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/support/temporary_directory.h"
#include "tests/trainer/files/faulty_file_system.h"
#include "trainer/files/input_file.h"
#include "trainer/files/output_file.h"

namespace ropewalk {
namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const FileError& error) {
    return error.what();
  }
  return "";
}

TEST(FileSystem, WritesAndReads) {
  const TemporaryDirectory directory;
  OutputFile out(real_file_system(), directory / "file");
  out.write("abc");
  out.write("");
  out.write("defg");
  EXPECT_EQ(out.size(), 7);
  out.close();
  const InputFile in(real_file_system(), directory / "file");
  EXPECT_EQ(in.size(), 7);
  char bytes[3];
  in.read(2, bytes, 3);
  EXPECT_EQ(std::string(bytes, 3), "cde");
  EXPECT_EQ(read_text(real_file_system(), directory / "file", 7), "abcdefg");
  EXPECT_NE(message_of([&] { read_text(real_file_system(), directory / "file", 6); }).find("has 7 bytes; at most 6"),
            std::string::npos);
}

TEST(FileSystem, NamesPathAndReason) {
  const TemporaryDirectory directory;
  FileSystem& files = real_file_system();
  write_file(directory / "there", "x");
  const std::string path = (directory / "there").string();
  EXPECT_EQ(message_of([&] { OutputFile(files, directory / "there"); }), "cannot create " + path + ": File exists");
  EXPECT_EQ(message_of([&] { make_directory(files, directory / "there"); }),
            "cannot make the directory " + path + ": File exists");
  const std::string none = (directory / "none").string();
  EXPECT_EQ(message_of([&] { InputFile(files, directory / "none"); }),
            "cannot open " + none + ": No such file or directory");
  EXPECT_EQ(message_of([&] { list_directory(directory / "none"); }),
            "cannot list " + none + ": No such file or directory");
  EXPECT_EQ(message_of([&] { rename_path(files, directory / "none", directory / "x"); }),
            "cannot rename " + none + " to " + (directory / "x").string() + ": No such file or directory");
  EXPECT_EQ(message_of([&] { InputFile(files, directory.path()); }), directory.path().string() + " is no regular file");
}

TEST(FileSystem, NeverFollowsALinkToAFile) {
  const TemporaryDirectory directory;
  write_file(directory / "victim", "x");
  std::filesystem::create_symlink(directory / "victim", directory / "link");
  std::filesystem::create_symlink(directory / "new victim", directory / "dangling");
  EXPECT_NE(message_of([&] { InputFile(real_file_system(), directory / "link"); }), "");
  EXPECT_NE(message_of([&] { OutputFile(real_file_system(), directory / "link"); }), "");
  EXPECT_NE(message_of([&] { OutputFile(real_file_system(), directory / "dangling"); }), "");
  EXPECT_FALSE(std::filesystem::exists(directory / "new victim"));
}

TEST(FileSystem, AFileThatShrinksWhileItIsReadIsAnError) {
  const TemporaryDirectory directory;
  write_file(directory / "file", "abcdef");
  const InputFile in(real_file_system(), directory / "file");
  std::filesystem::resize_file(directory / "file", 3);
  char bytes[6];
  EXPECT_NE(message_of([&] { in.read(0, bytes, 6); }).find("ends at byte 3, 3 bytes before it should"),
            std::string::npos);
}

TEST(FileSystem, CloseReportsWhatWritingDidNot) {
  const TemporaryDirectory directory;
  for (const std::string& broken : {std::string("fsync"), std::string("close")}) {
    FaultyFileSystem files([&](const char* call) { return call == broken ? EIO : 0; });
    OutputFile out(files, directory / broken);
    out.write("x");
    EXPECT_EQ(message_of([&] { out.close(); }),
              "cannot " + broken + " " + (directory / broken).string() + ": Input/output error");
  }
}

TEST(FileSystem, DirectoriesAreRemovedWithTheirFilesOnly) {
  const TemporaryDirectory directory;
  std::filesystem::create_directories(directory / "d" / "inner");
  write_file(directory / "d" / "file", "x");
  EXPECT_NE(message_of([&] { remove_directory(real_file_system(), directory / "d"); }), "");
  std::filesystem::remove(directory / "d" / "inner");
  std::filesystem::create_symlink("/", directory / "d" / "link");
  EXPECT_EQ(message_of([&] { remove_directory(real_file_system(), directory / "d"); }), "");
  EXPECT_EQ(kind_of(directory / "d"), PathKind::kNone);
}

TEST(FileSystem, SyncsADirectoryWhereThatCanBeHad) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(sync_directory(real_file_system(), directory.path()));
  for (const int reason : {EINVAL, ENOTSUP, EBADF}) {
    FaultyFileSystem without([&](const char* call) { return call == std::string("fsync") ? reason : 0; });
    EXPECT_FALSE(sync_directory(without, directory.path()));
    EXPECT_NO_THROW(make_directories(without, directory / std::to_string(reason) / "b"));
  }
  FaultyFileSystem unreadable([&](const char* call) { return call == std::string("open") ? EACCES : 0; });
  EXPECT_FALSE(sync_directory(unreadable, directory.path()));
  FaultyFileSystem broken([&](const char* call) { return call == std::string("fsync") ? EIO : 0; });
  EXPECT_EQ(message_of([&] { sync_directory(broken, directory.path()); }),
            "cannot fsync " + directory.path().string() + ": Input/output error");
  EXPECT_NE(message_of([&] { sync_directory(real_file_system(), directory / "none"); }), "");
}

TEST(FileSystem, ReplacesAFileAsAWholeAndNeverThroughALink) {
  const TemporaryDirectory directory;
  write_file(directory / "victim", "mine");
  std::filesystem::create_symlink(directory / "victim", directory / "file");
  std::filesystem::create_symlink(directory / "victim", beside(directory / "file"));  // left by a killed job
  replace_file(real_file_system(), directory / "file", "new");
  EXPECT_EQ(read_file(directory / "victim"), "mine");
  EXPECT_EQ(kind_of(directory / "file"), PathKind::kFile);
  EXPECT_EQ(read_file(directory / "file"), "new");
  int failures = 0;
  for (int64_t call = 0;; ++call) {
    CallCounter counter(call, CallCounter::Mode::kOnce, EIO);
    FaultyFileSystem faulty([&](const char*) { return counter(); });
    const bool failed = !message_of([&] { replace_file(faulty, directory / "file", fmt::format("{}", call)); }).empty();
    if (!counter.reached()) break;
    failures += failed;
    const std::string text = read_file(directory / "file");
    EXPECT_TRUE(text == "new" || text == std::to_string(call)) << text;
    EXPECT_EQ(kind_of(beside(directory / "file")), PathKind::kNone);
    write_file(directory / "file", "new");
  }
  EXPECT_GT(failures, 4);
}

TEST(FileSystem, WritesOverAndReadsWhatWasWritten) {
  const TemporaryDirectory directory;
  OutputFile out(real_file_system(), directory / "file");
  out.write("abcdefg");
  out.write_at(1, "XY", 2);
  out.write("h");
  char bytes[4];
  out.read(2, bytes, 4);
  EXPECT_EQ(std::string(bytes, 4), "Ydef");
  EXPECT_EQ(out.size(), 8);
  EXPECT_NE(message_of([&] { out.read(6, bytes, 4); }).find("cannot read"), std::string::npos);
  out.close();
  EXPECT_EQ(read_file(directory / "file"), "aXYdefgh");
}

TEST(FileSystem, ANewFileIsGoneUnlessItTookItsNameOrStays) {
  const TemporaryDirectory directory;
  const auto begin = [&](NewFile::Leftover leftover) {
    return std::make_unique<NewFile>(real_file_system(), directory / "file", directory / "file.tmp", leftover);
  };
  begin(NewFile::Leftover::kRefuse)->close();
  EXPECT_EQ(list_directory(directory.path()), std::vector<std::string>{});
  auto file = begin(NewFile::Leftover::kRefuse);
  file->close();
  file->stay();
  file.reset();
  EXPECT_EQ(list_directory(directory.path()), std::vector<std::string>{"file.tmp"});
  EXPECT_NE(message_of([&] { begin(NewFile::Leftover::kRefuse); }).find("file.tmp exists"), std::string::npos);
  file = begin(NewFile::Leftover::kRemove);
  file->write("new");
  file->close();
  EXPECT_TRUE(file->take_name());
  file.reset();
  EXPECT_EQ(list_directory(directory.path()), std::vector<std::string>{"file"});
  EXPECT_EQ(read_file(directory / "file"), "new");
}

// A run's files must be regular and not links; data may be anything that can be read.
TEST(FileSystem, TheOwnerDecidesWhatMayBeReadAndWhichErrorItIs) {
  const TemporaryDirectory directory;
  FileSystem& data = real_file_system(FileOwner::kData);
  write_file(directory / "file", "text");
  std::filesystem::create_symlink(directory / "file", directory / "link");
  InputFile in(data, directory / "link");
  char bytes[9];
  EXPECT_EQ(in.read_next(bytes), 4u);
  EXPECT_TRUE(in.has_name());
  std::filesystem::remove(directory / "link");
  EXPECT_FALSE(in.has_name());
  EXPECT_THROW(InputFile(data, directory / "none"), DataError);
  EXPECT_THROW(InputFile(data, directory.path()), DataError);
  EXPECT_THROW(OutputFile(data, directory / "file"), DataError);
}

TEST(FileSystem, KeepsAsideUnderTheFirstFreeName) {
  const TemporaryDirectory directory;
  for (const char* name : {"file.1", "file.2"}) {
    write_file(directory / "file", name);
    EXPECT_EQ(keep_aside(real_file_system(), directory / "file"), directory / name);
    EXPECT_EQ(read_file(directory / name), name);
  }
}

// Two runs of a sweep create their common parent directory at the same time.
TEST(FileSystem, ADirectoryThatAnotherRunMakesMeanwhileIsThere) {
  struct Late : FileSystem {
    int mkdir(const char* path, mode_t mode) override {
      FileSystem::mkdir(path, mode);
      return FileSystem::mkdir(path, mode);
    }
  };
  const TemporaryDirectory directory;
  Late system;
  make_directories(system, directory / "runs/a");
  EXPECT_EQ(kind_of(directory / "runs/a"), PathKind::kDirectory);
}

}  // namespace
}  // namespace ropewalk
