// The files at a prefix when two writers use it, when a writer is killed, when a call fails, and when links are there.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <system_error>
#include <thread>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/files/faulty_file_system.h"
#include "trainer/data/indexed_dataset.h"
#include "trainer/data/indexed_writer.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

FileSystem& kDisk = real_file_system(FileOwner::kData);
constexpr int64_t kLongest = 1000;  // tokens of a sequence
const Names kWholeOld = {"x.bin", "x.dataset.json", "x.idx", "x.tokenizer.json"};
const Names kWholeNew = {"x.bin", "x.dataset.json", "x.idx"};

// 24 tokens of one value, in documents of `length` tokens. All their .bin files have the same size, so only the
// contents show whether an index belongs to its .bin. The value is in the side files too; only the old dataset (value
// 1) has a tokenizer's file.
void write(const std::string& prefix, int32_t value, size_t length, FileSystem& system) {
  IndexedWriter writer(prefix, 100, kLongest, system);
  for (size_t tokens = 0; tokens < 24; tokens += length) {
    writer.append(std::vector<int32_t>(length, value));
    writer.end_document();
  }
  std::vector<SideFile> side_files = {{".dataset.json", std::to_string(value)}};
  if (value == 1) side_files.push_back({".tokenizer.json", "1"});
  writer.finish(side_files);
}
void write_old(const std::string& prefix) { write(prefix, 1, 2, kDisk); }
void write_new(const std::string& prefix, FileSystem& system = kDisk) { write(prefix, 2, 3, system); }

// The value of the dataset's tokens; fails if index and .bin do not belong together. 0 if there is no index.
int32_t value_at(const std::string& prefix) {
  if (!fs::exists(prefix + ".idx")) return 0;
  const IndexedDataset dataset(prefix, 100);
  std::vector<int32_t> tokens(24);
  dataset.read(0, tokens);
  EXPECT_EQ(tokens, std::vector<int32_t>(24, tokens[0]));
  EXPECT_EQ(dataset.documents(), tokens[0] == 1 ? 12 : 8) << "the index of another .bin";
  EXPECT_EQ(read_file(prefix + ".dataset.json"), std::to_string(tokens[0])) << "of another .bin";
  EXPECT_EQ(fs::exists(prefix + ".tokenizer.json"), tokens[0] == 1) << "of another .bin";
  return tokens[0];
}

TEST(WritersThatMeet, TheSecondIsRefusedAndTheFirstStaysWhole) {
  const TemporaryDirectory folder;
  {
    IndexedWriter first(folder / "x", 100);
    first.append(std::vector<int32_t>(24, 1));
    const std::string holder = "(process " + std::to_string(::getpid()) + " on ";
    for (int again = 0; again < 2; ++again)
      expect_error<ConfigurationError>([&] { write_new(folder / "x"); }, {folder / "x is being written", holder});
    write_new(folder / "y");  // another prefix is free
    first.end_document();
    first.finish();
  }
  EXPECT_EQ(folder.names(), (Names{"x.bin", "x.idx", "y.bin", "y.dataset.json", "y.idx"}));
  EXPECT_EQ(IndexedDataset(folder / "x", 100).documents(), 1);
  write_new(folder / "x");
  EXPECT_EQ(value_at(folder / "x"), 2);
}

// The second writer opens the lock file; then the first ends and removes it, before the second locks it.
TEST(WritersThatMeet, ALockOfARemovedFileHoldsNothing) {
  const TemporaryDirectory folder;
  auto first = std::make_optional<IndexedWriter>(folder / "x", 100);
  FaultyFileSystem system(
      [&](std::string_view call) {
        if (call == "flock") first.reset();
        return 0;
      },
      FileOwner::kData);
  const IndexedWriter second(folder / "x", 100, kLongest, system);
  EXPECT_FALSE(first);
  expect_error<ConfigurationError>([&] { IndexedWriter(folder / "x", 100); }, {"is being written"});
}

// The first writer has just taken the lock, and writes its name a moment later.
TEST(WritersThatMeet, TheHolderIsNamedFromTheFirstMoment) {
  const TemporaryDirectory folder;
  std::jthread second;
  FaultyFileSystem system(
      [&](std::string_view call) {
        if (call == "pwrite" && !second.joinable()) {
          second = std::jthread(
              [&] { expect_error<ConfigurationError>([&] { IndexedWriter(folder / "x", 100); }, {"(process "}); });
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        return 0;
      },
      FileOwner::kData);
  const IndexedWriter first(folder / "x", 100, kLongest, system);
  second.join();
}

TEST(WritersThatMeet, WhatAKilledOneHasLeftIsRemoved) {
  const TemporaryDirectory folder;
  for (const char* extension : {".bin.tmp", ".idx.tmp", ".dataset.json.tmp", ".tokenizer.json.tmp"})
    write_file(folder / (std::string("x") + extension), std::string(100'000, 'z'));
  write_file(folder / "x.lock.tmp", "process 1 on a host that is gone");
  write_new(folder / "x");
  EXPECT_EQ(folder.names(), kWholeNew);
  EXPECT_EQ(value_at(folder / "x"), 2);
}

TEST(WritersThatMeet, WhatIsNoLockIsNeverWrittenTo) {
  const TemporaryDirectory folder;
  write_file(folder / "x.lock.tmp", "precious");
  expect_error<DataError>([&] { write_new(folder / "x"); }, {"x.lock.tmp is in the way", "rename it"});
  EXPECT_EQ(read_file(folder / "x.lock.tmp"), "precious");
  EXPECT_EQ(folder.names(), (Names{"x.lock.tmp"}));
}

TEST(WritersThatMeet, LinksAreNeverWrittenThrough) {
  for (const bool symbolic : {true, false}) {
    const TemporaryDirectory folder;
    write_file(folder / "victim", "precious");
    for (const char* extension : {".bin.tmp", ".idx.tmp", ".dataset.json.tmp", ".tokenizer.json.tmp", ".bin", ".idx",
                                  ".dataset.json", ".tokenizer.json"}) {
      const std::string link = folder / (std::string("x") + extension);
      ASSERT_EQ(symbolic ? ::symlink("victim", link.c_str()) : ::link((folder / "victim").c_str(), link.c_str()), 0);
    }
    write_new(folder / "x");
    EXPECT_EQ(read_file(folder / "victim"), "precious") << symbolic;
    EXPECT_EQ(folder.names(), (Names{"victim", "x.bin", "x.dataset.json", "x.idx"}));
    EXPECT_EQ(value_at(folder / "x"), 2);
  }
  const TemporaryDirectory folder;
  write_file(folder / "victim", "precious");
  ASSERT_EQ(::symlink("victim", (folder / "x.lock.tmp").c_str()), 0);
  expect_error<DataError>([&] { write_new(folder / "x"); }, {"x.lock.tmp", "remove the symbolic link"});
  EXPECT_EQ(read_file(folder / "victim"), "precious");
}

TEST(WritersThatMeet, WhoReadsGoesOnReadingWhatItOpened) {
  const TemporaryDirectory folder;
  write_old(folder / "x");
  const IndexedDataset dataset(folder / "x", 100);
  write_new(folder / "x");
  std::vector<int32_t> tokens(24);
  dataset.read(0, tokens);
  EXPECT_EQ(tokens, std::vector<int32_t>(24, 1));
  EXPECT_EQ(dataset.documents(), 12);
  EXPECT_EQ(dataset.document_begin(11), 22);
}

// The dataset is replaced after its index is opened and before its .bin is.
TEST(WritersThatMeet, WhoOpensWhileFilesAreReplacedIsTold) {
  const TemporaryDirectory folder;
  write_old(folder / "x");
  int opened = 0;
  FaultyFileSystem system(
      [&](std::string_view call) {
        if (call == "open" && ++opened == 2) write_new(folder / "x");
        return 0;
      },
      FileOwner::kData);
  expect_error<DataError>([&] { IndexedDataset(folder / "x", 100, system); },
                          {"x.idx was replaced while it was opened"});
  EXPECT_EQ(value_at(folder / "x"), 2);
}

// A process that is killed before each of its system calls in turn.
TEST(WritersThatFail, KilledAtAnyCallTheIndexBelongsToItsBin) {
  bool done = false;
  int old_ones = 0, none = 0, new_ones = 0;
  for (int n = 0; !done; ++n) {
    const TemporaryDirectory folder;
    write_old(folder / "x");
    const pid_t child = ::fork();
    if (child == 0) {
      int calls = 0;
      FaultyFileSystem faulty(
          [&](std::string_view) {
            if (calls++ == n) ::raise(SIGKILL);
            return 0;
          },
          FileOwner::kData);
      write_new(folder / "x", faulty);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    done = WIFEXITED(status);
    const int32_t value = value_at(folder / "x");
    ++(value == 0 ? none : value == 1 ? old_ones : new_ones);
    write_old(folder / "x");
    EXPECT_EQ(folder.names(), kWholeOld) << n;
    EXPECT_EQ(value_at(folder / "x"), 1) << n;
  }
  EXPECT_GT(old_ones, 8);
  EXPECT_GT(none, 6);      // after the old index is removed, before the new one has its name
  EXPECT_GT(new_ones, 1);  // the process that was not killed, and those killed at the end
}

TEST(WritersThatFail, AnyCallMayFail) {
  for (const int code : {ENOSPC, EFBIG, EIO}) {
    int failed = 0;
    for (bool done = false; !done;) {
      const TemporaryDirectory folder;
      write_old(folder / "x");
      int calls = 0;
      std::string which;
      try {
        FaultyFileSystem faulty(
            [&](std::string_view call) {
              if (calls++ != failed) return 0;
              which = call;
              return code;
            },
            FileOwner::kData);
        write_new(folder / "x", faulty);
        done = calls <= failed;
      } catch (const DataError& error) {
        const std::string message = error.what(), reason = std::generic_category().message(code);
        EXPECT_TRUE(message.find(folder.path()) != message.npos && message.find(reason) != message.npos) << message;
      }
      ++failed;
      EXPECT_GE(value_at(folder / "x"), 0);
      for (const std::string& name : folder.names())
        EXPECT_TRUE(which == "unlink" || !name.ends_with(".tmp")) << which << " leaves " << name;
      write_old(folder / "x");
      EXPECT_EQ(folder.names(), kWholeOld);
    }
    EXPECT_GT(failed, 15);
  }
}

// After a power cut at any call, the index that is left belongs to its files, or there is none.
TEST(WritersThatFail, APowerCutLeavesTheOldOrTheNewOrNoIndex) {
  int old_ones = 0, none = 0, new_ones = 0;
  for (int64_t call = 0, reached = 1; reached; ++call) {
    const TemporaryDirectory folder;
    write_old(folder / "x");
    PowerCutFileSystem disk(folder.path(), call, FileOwner::kData);
    try {
      write_new(folder / "x", disk);
    } catch (const DataError&) {
    }
    reached = disk.reached();
    disk.cut();
    const int32_t value = value_at(folder / "x");
    ++(value == 0 ? none : value == 1 ? old_ones : new_ones);
  }
  EXPECT_GT(old_ones, 10);
  EXPECT_GT(none, 6);
  EXPECT_GE(new_ones, 1);
}

// A limit on file sizes, as by `ulimit -f`, for each of the two files.
TEST(WritersThatFail, AFileThatMayNotGrowIsNamed) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  for (const auto& [length, grown] : {std::pair<size_t, std::string>{40'000, "x.bin"}, {0, "x.idx"}}) {
    const TemporaryDirectory folder;
    struct rlimit small = before;
    small.rlim_cur = 60'000;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    expect_error<DataError>(
        [&, documents = length == 0 ? 10'000 : 1, tokens = std::vector<int32_t>(length, 3)] {
          IndexedWriter writer(folder / "x", 100);
          for (int d = 0; d < documents; ++d) {
            writer.append(tokens);
            writer.end_document();
          }
          writer.finish();
        },
        {grown + ".tmp: File too large", "ulimit -f"});
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_TRUE(folder.names().empty()) << grown;
  }
  std::signal(SIGXFSZ, handler);
}

TEST(WritersThatFail, WhereThereAreNoLocksTheNameTells) {
  const TemporaryDirectory folder;
  FaultyFileSystem no_locks([](std::string_view call) { return call == "flock" ? ENOLCK : 0; }, FileOwner::kData);
  {
    IndexedWriter first(folder / "x", 100, kLongest, no_locks);
    first.append(std::vector<int32_t>(24, 1));
    expect_error<DataError>([&] { write_new(folder / "x", no_locks); }, {"x.bin.tmp exists", "no locks", "remove it"});
    first.end_document();
    first.finish();
  }
  EXPECT_EQ(folder.names(), (Names{"x.bin", "x.idx"}));
  write_new(folder / "x");
  EXPECT_EQ(value_at(folder / "x"), 2);
  EXPECT_EQ(folder.names(), kWholeNew);
}

}  // namespace
}  // namespace ropewalk
