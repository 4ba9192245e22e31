// Leftovers of killed jobs are removed, unless a process uses them.
#include "launch/process/leftovers.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

namespace ropewalk {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBytes = 1 << 16;

class Leftovers : public testing::Test {
 protected:
  Leftovers() : folder_(fs::path("/dev/shm") / ("ropewalk-test." + std::to_string(getpid()))) {
    fs::create_directory(folder_);
  }
  ~Leftovers() override { fs::remove_all(folder_); }

  fs::path file(const std::string& name) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << std::string(kBytes, 'x');
    return path;
  }

  fs::path folder_;
};

// Another process that keeps the file mapped, like a rank its segment, until this object is destroyed.
class Mapping {
 public:
  explicit Mapping(const fs::path& path) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    child_ = fork();
    if (child_ == 0) {
      const int file = open(path.c_str(), O_RDWR);
      void* const bytes = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
      close(file);
      const char word = bytes == MAP_FAILED ? 'n' : 'y';
      if (write(ends[1], &word, 1) == 1) pause();
      _exit(1);
    }
    char word = 0;
    EXPECT_EQ(read(ends[0], &word, 1), 1);
    EXPECT_EQ(word, 'y');
    close(ends[0]);
    close(ends[1]);
  }
  ~Mapping() {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }

 private:
  pid_t child_;
};

TEST_F(Leftovers, OfNobodyAreRemoved) {
  const fs::path segment = file("vader_segment.host.0.7b80001.0"), other = file("data.jsonl");
  EXPECT_EQ(remove_segments(folder_), static_cast<int64_t>(kBytes));
  EXPECT_FALSE(fs::exists(segment));
  EXPECT_TRUE(fs::exists(other));
  EXPECT_EQ(remove_segments(folder_), 0);
  EXPECT_EQ(remove_segments(folder_ / "absent"), 0);
}

TEST_F(Leftovers, ThatSomebodyUsesAreLeft) {
  const fs::path mapped = file("vader_segment.host.0.1.0"), read_only = file("vader_segment.host.0.1.1");
  {
    const Mapping rank(mapped);
    const int reader = open(read_only.c_str(), O_RDONLY);
    EXPECT_EQ(remove_segments(folder_), 0);
    EXPECT_TRUE(fs::exists(mapped));
    EXPECT_TRUE(fs::exists(read_only));
    close(reader);
  }
  EXPECT_EQ(remove_segments(folder_), static_cast<int64_t>(2 * kBytes));
}

TEST_F(Leftovers, OfAnotherUserAreLeft) {
  if (geteuid() != 0) GTEST_SKIP() << "only root has files of another";
  const fs::path path = file("vader_segment.host.65534.1.0");
  ASSERT_EQ(chown(path.c_str(), 65534, 65534), 0);
  fs::create_symlink(file("data.jsonl"), folder_ / "vader_segment.host.0.2.0");
  EXPECT_EQ(remove_segments(folder_), 0);
  EXPECT_TRUE(fs::exists(path));
  EXPECT_TRUE(fs::exists(folder_ / "data.jsonl"));
}

TEST_F(Leftovers, OfALauncherAreRemovedAsAWhole) {
  file("pid.1/contact.txt");
  const fs::path shared = file("pid.1/pmix_dstor_ds21_1/initial-pmix_shared-segment-0");
  ASSERT_EQ(mkfifo((folder_ / "pid.1/debugger_attach_fifo").c_str(), 0600), 0);
  file("pid.2/contact.txt");  // a launcher that has just started, or another program's folder
  file("pid.3/pmix_dstor_ds12_3/initial-pmix_shared-segment-0");
  {
    const Mapping launcher(shared);
    EXPECT_EQ(remove_launchers(folder_), static_cast<int64_t>(kBytes));
    EXPECT_TRUE(fs::exists(folder_ / "pid.1/contact.txt"));
    EXPECT_FALSE(fs::exists(folder_ / "pid.3"));
  }
  EXPECT_EQ(remove_launchers(folder_), static_cast<int64_t>(2 * kBytes));
  EXPECT_FALSE(fs::exists(folder_ / "pid.1"));
  EXPECT_TRUE(fs::exists(folder_ / "pid.2"));
}

}  // namespace
}  // namespace ropewalk
