// Preloaded: logs each fsync and rename as a line of the file FSYNC_LOG. With NO_DIRECTORY_FSYNC, fsync of a directory
// fails, as on some SMB and FUSE file systems.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace {

void log(const std::string& line) {
  const char* path = std::getenv("FSYNC_LOG");
  if (path == nullptr) return;
  const int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
  (void)!write(file, line.data(), line.size());  // one call, so that lines of several ranks do not mix
  close(file);
}

std::string path_of(int file) {
  char path[4096];
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), path, sizeof path);
  return std::string(path, length > 0 ? static_cast<size_t>(length) : 0);
}

}  // namespace

extern "C" int fsync(int file) {
  struct stat status {};
  if (std::getenv("NO_DIRECTORY_FSYNC") && fstat(file, &status) == 0 && S_ISDIR(status.st_mode)) {
    errno = EINVAL;
    return -1;
  }
  static const auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "fsync"));
  log("fsync " + path_of(file) + "\n");
  return real(file);
}

extern "C" int rename(const char* from, const char* to) {
  static const auto real = reinterpret_cast<int (*)(const char*, const char*)>(dlsym(RTLD_NEXT, "rename"));
  log(std::string("rename ") + to + "\n");
  return real(from, to);
}
