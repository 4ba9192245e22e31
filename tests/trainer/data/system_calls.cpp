#include "tests/trainer/data/system_calls.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <utility>

namespace ropewalk {
namespace {

std::function<int(std::string_view call)> fault_of_calls;

template <typename... Arguments>
long call(const char* name, long number, Arguments... arguments) {
  const int error = fault_of_calls ? fault_of_calls(name) : 0;
  if (error == 0) return ::syscall(number, arguments...);
  errno = error;
  return -1;
}

}  // namespace

FaultyCalls::FaultyCalls(std::function<int(std::string_view call)> fault) { fault_of_calls = std::move(fault); }
FaultyCalls::~FaultyCalls() { fault_of_calls = nullptr; }

}  // namespace ropewalk

// These take the place of the C library's for all code of the test's program.
extern "C" {
int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const auto mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : mode_t{0};
  va_end(rest);
  return static_cast<int>(ropewalk::call("open", SYS_openat, AT_FDCWD, path, flags, mode));
}
int ftruncate(int file, off_t size) noexcept {
  return static_cast<int>(ropewalk::call("ftruncate", SYS_ftruncate, file, size));
}
ssize_t write(int file, const void* data, size_t bytes) {
  return ropewalk::call("write", SYS_write, file, data, bytes);
}
ssize_t pwrite(int file, const void* data, size_t bytes, off_t offset) {
  return ropewalk::call("pwrite", SYS_pwrite64, file, data, bytes, offset);
}
int flock_of_tests(int file, int operation) noexcept __asm__("flock");  // there is a type of that name
int flock_of_tests(int file, int operation) noexcept {
  return static_cast<int>(ropewalk::call("flock", SYS_flock, file, operation));
}
int fsync(int file) { return static_cast<int>(ropewalk::call("fsync", SYS_fsync, file)); }
int rename(const char* from, const char* to) noexcept {
  return static_cast<int>(ropewalk::call("rename", SYS_rename, from, to));
}
int unlink(const char* path) noexcept { return static_cast<int>(ropewalk::call("unlink", SYS_unlink, path)); }
}
