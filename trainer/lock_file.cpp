#include "trainer/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "kernels/error.h"
#include "parallel/host_name.h"

namespace ropewalk {
namespace {

[[noreturn]] void fail(int code, const std::string& path) {
  throw std::system_error(code, std::generic_category(), path);
}

std::string this_process() { return fmt::format("process {} on {}", ::getpid(), host_name()); }

// A stranger's file is not believed to be short or printable.
std::string text_in(int file) {
  char bytes[300];
  const ssize_t count = ::pread(file, bytes, sizeof bytes, 0);
  std::string text(bytes, count > 0 ? static_cast<size_t>(count) : 0);
  std::erase_if(text, [](char c) { return c < ' ' || c > '~'; });
  return text;
}

// Who has just taken the lock is about to write its name.
std::string holder_in(int file) {
  constexpr int kTries = 50;
  for (int tries = 0; tries < kTries; ++tries) {
    const std::string holder = text_in(file);
    if (!holder.empty()) return holder;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return "unknown";
}

LockFile::State try_to_lock(int file) {
  int result;
  do result = ::flock(file, LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result == 0) return LockFile::State::kHeld;
  return errno == EWOULDBLOCK ? LockFile::State::kHeldByAnother : LockFile::State::kNoLocks;
}

}  // namespace

LockFile::LockFile(std::string path, AtEnd at_end) : path_(std::move(path)), at_end_(at_end) {
  open();
  // A file that its holder removed between our open() and our lock is nobody's: another may have made the next.
  while (state_ == State::kHeld && !has_name()) {
    ::close(file_);
    open();
  }
  if (state_ == State::kHeldByAnother) {
    holder_ = holder_in(file_);
    return;
  }
  holder_ = this_process();
  if (::ftruncate(file_, 0) == 0 && ::pwrite(file_, holder_.data(), holder_.size(), 0) >= 0) return;
  const int code = errno;
  let_go();
  fail(code, path_);
}

LockFile::~LockFile() { let_go(); }

void LockFile::let_go() {
  if (at_end_ == AtEnd::kRemoved && state_ != State::kHeldByAnother && has_name()) ::unlink(path_.c_str());
  ::close(file_);
}

void LockFile::open() {
  do file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  while (file_ < 0 && errno == EINTR);
  if (file_ < 0) fail(errno, path_);
  state_ = try_to_lock(file_);
}

bool LockFile::has_name() const {
  struct stat opened {};
  struct stat named {};
  return ::fstat(file_, &opened) == 0 && ::lstat(path_.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

}  // namespace ropewalk
