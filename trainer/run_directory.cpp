#include "trainer/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "kernels/error.h"
#include "parallel/host_name.h"

namespace ropewalk {
namespace {

std::string this_process() { return fmt::format("process {} on {}", getpid(), host_name()); }

// What the job that holds the lock wrote; a stranger's file is not believed to be short or printable.
std::string holder_in(int file) {
  char text[300];
  const ssize_t bytes = pread(file, text, sizeof text, 0);
  std::string holder(text, bytes > 0 ? static_cast<size_t>(bytes) : 0);
  std::erase_if(holder, [](char c) { return c < ' ' || c > '~'; });
  return holder.empty() ? "unknown" : holder;
}

}  // namespace

RunDirectory::RunDirectory(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (error) fail(error.message());
  file_ = open((path_ / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (file_ < 0) fail(std::strerror(errno));
  int result;
  do result = flock(file_, LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  locked_ = result == 0;
  if (!locked_ && errno == EWOULDBLOCK) {
    const std::string holder = holder_in(file_);
    close(file_);
    throw ConfigurationError(fmt::format(
        "output.directory is {}: another job is writing there ({}); wait for it, stop it, or name another directory",
        path_.string(), holder));
  }
  const std::string owner = this_process();
  if (ftruncate(file_, 0) != 0 || pwrite(file_, owner.data(), owner.size(), 0) < 0) {
    const int reason = errno;
    close(file_);
    fail(std::strerror(reason));
  }
}

RunDirectory::~RunDirectory() { close(file_); }

void RunDirectory::check_writable(const std::string& subdirectory) const {
  const std::filesystem::path path = path_ / subdirectory;
  std::error_code none;
  if (!std::filesystem::exists(path, none)) return;
  const bool directory = std::filesystem::is_directory(path, none);
  if (directory && access(path.c_str(), W_OK | X_OK) == 0) return;
  throw ConfigurationError(fmt::format("{} cannot be written to ({}); mend that, or name another output.directory",
                                       path.string(), directory ? std::strerror(errno) : "not a directory"));
}

void RunDirectory::write_config(std::string_view text) const {
  std::ofstream file(path_ / "config.textproto");
  file << text << std::flush;
  if (!file) fail(std::strerror(errno));
}

void RunDirectory::fail(std::string_view reason) const {
  throw ConfigurationError(fmt::format(
      "output.directory is {}: it cannot be written to ({}); name a directory that can", path_.string(), reason));
}

}  // namespace ropewalk
