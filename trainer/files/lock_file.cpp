#include "trainer/files/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <string_view>
#include <thread>
#include <utility>

#include "parallel/communicator/host_name.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr std::string_view kMark = "process ";  // the text in a lock file begins with it

std::string this_process() { return fmt::format("{}{} on {}", kMark, ::getpid(), host_name()); }

// The file's first bytes; a file that is not a lock may be long.
std::string beginning_of(int file) {
  char bytes[300];
  const ssize_t count = ::pread(file, bytes, sizeof bytes, 0);
  return std::string(bytes, count > 0 ? static_cast<size_t>(count) : 0);
}

// Waits for the holder's name: a process writes it just after it has taken the lock.
std::string holder_in(int file) {
  constexpr int kTries = 50;
  for (int tries = 0; tries < kTries; ++tries) {
    std::string holder = beginning_of(file);
    std::erase_if(holder, [](char c) { return c < ' ' || c > '~'; });
    if (!holder.empty()) return holder;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return "unknown";
}

LockFile::State try_to_lock(FileSystem& system, int file) {
  if (retry([&] { return system.flock(file, LOCK_EX | LOCK_NB); }) == 0) return LockFile::State::kHeld;
  return errno == EWOULDBLOCK ? LockFile::State::kHeldByAnother : LockFile::State::kNoLocks;
}

}  // namespace

LockFile::LockFile(std::filesystem::path path, AtEnd at_end, FileSystem& system)
    : path_(std::move(path)), at_end_(at_end), system_(system) {
  try {
    try_again();
  } catch (...) {
    close();
    throw;
  }
}

LockFile::~LockFile() { close(); }

LockFile::State LockFile::try_again() {
  if (state_ == State::kHeld) return state_;
  // If the holder removed the file between our open() and our flock(), our lock is worthless: try again.
  do open();
  while (state_ == State::kHeld && !leads_to(path_, file_));
  if (state_ == State::kHeldByAnother) {
    holder_ = holder_in(file_);
    return state_;
  }
  holder_ = this_process();
  if (retry([&] { return system_.ftruncate(file_, 0); }) < 0 ||
      (retry([&] { return system_.pwrite(file_, holder_.data(), holder_.size(), 0); }) < 0 && !is_no_room(errno)))
    throw_file_error(system_.owner(), "write", path_);
  return state_;
}

void LockFile::open() {
  if (file_ >= 0) system_.close(std::exchange(file_, -1));
  file_ = open_file(system_, "open", path_, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK);
  struct stat status {};
  const std::string text = beginning_of(file_);
  const bool ours = text.empty() || text.starts_with(kMark);
  if (::fstat(file_, &status) != 0 || !S_ISREG(status.st_mode) || !ours) {
    system_.close(std::exchange(file_, -1));
    throw_file_error(system_.owner(),
                     fmt::format("{} is in the way: it has the name of a lock, but is not a lock; rename it",
                                 printable_name(path_.string())));
  }
  state_ = try_to_lock(system_, file_);
}

void LockFile::close() {
  if (file_ < 0) return;
  if (at_end_ == AtEnd::kRemoved && state_ != State::kHeldByAnother && leads_to(path_, file_))
    system_.unlink(path_.c_str());
  system_.close(file_);
}

}  // namespace ropewalk
