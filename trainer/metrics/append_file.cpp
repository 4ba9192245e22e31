#include "trainer/metrics/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/error.h"

namespace ropewalk {
namespace {

// Bytes of a regular file; nothing for a pipe or a device, which has no length to go back to.
int64_t length_of(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? status.st_size : -1;
}

}  // namespace

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code made;
  if (path_.has_parent_path()) std::filesystem::create_directories(path_.parent_path(), made);
  fd_ = made ? -1 : open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ >= 0) return;
  throw ConfigurationError(
      fmt::format("cannot write '{}': {}. Choose an output.directory in which this user may write.", path_.string(),
                  made ? made.message() : std::strerror(errno)));
}

AppendFile::~AppendFile() { close(fd_); }

void AppendFile::cut(int64_t bytes) {
  if (ftruncate(fd_, bytes) == 0) return;
  throw DataError(fmt::format("cannot shorten '{}' to {} bytes: {}. Move the file away, then start again.",
                              path_.string(), bytes, std::strerror(errno)));
}

void AppendFile::append(std::string_view record) {
  const int64_t before = length_of(fd_);
  waiting_ += record;
  std::string_view rest = waiting_;
  while (!rest.empty()) {
    const ssize_t written = write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int cause = errno;
      const bool whole = before < 0 || ftruncate(fd_, before) == 0;
      throw DataError(fmt::format("cannot write {} bytes to '{}': {}{}. Free some space.", waiting_.size(),
                                  path_.string(), std::strerror(cause),
                                  whole ? "" : " (and its last record is cut off)"));
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
  waiting_.clear();
}

}  // namespace ropewalk
