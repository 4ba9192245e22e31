#include "launch/process/leftovers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <string>
#include <vector>

namespace ropewalk {

namespace {

namespace fs = std::filesystem;

constexpr const char* kSegments = "vader_segment.";                 // the prefix that Open MPI uses
constexpr const char* kOfLauncher = "initial-pmix_shared-segment";  // mapped by a launcher while it runs

// When another process opens a file with a lease, the kernel sends the holder SIGIO, which would end this process.
class NoLeaseSignals {
 public:
  NoLeaseSignals() : before_(std::signal(SIGIO, SIG_IGN)) {}
  ~NoLeaseSignals() { std::signal(SIGIO, before_); }
  NoLeaseSignals(const NoLeaseSignals&) = delete;
  NoLeaseSignals& operator=(const NoLeaseSignals&) = delete;

 private:
  void (*before_)(int);
};

// The size of the file on disk, if it is this user's and nobody uses it; else nullopt.
std::optional<int64_t> abandoned_bytes(const fs::path& path) {
  const int file = open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  struct stat status {};
  const bool ours = fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid();
  const bool alone = ours && fcntl(file, F_SETLEASE, F_WRLCK) == 0;
  close(file);  // and releases the lease
  return alone ? std::optional(int64_t{512} * status.st_blocks) : std::nullopt;
}

// The size of a launcher's folder on disk; nullopt if a file in it is in use, or it is not a launcher's folder.
std::optional<int64_t> abandoned_bytes_below(const fs::path& folder) {
  int64_t bytes = 0;
  bool of_launcher = false;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const fs::file_type type = at->symlink_status(error).type();
    if (type == fs::file_type::directory || type == fs::file_type::fifo) continue;
    const std::optional<int64_t> more = abandoned_bytes(at->path());
    if (!more) return std::nullopt;
    bytes += *more;
    of_launcher = of_launcher || at->path().filename().string().starts_with(kOfLauncher);
  }
  return of_launcher && !error ? std::optional(bytes) : std::nullopt;
}

// All names, read first: removing entries during the iteration could skip others.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    entries.push_back(at->path());
  return entries;
}

}  // namespace

int64_t remove_segments(const fs::path& folder) {
  const NoLeaseSignals quiet;
  int64_t bytes = 0;
  for (const fs::path& path : entries_of(folder)) {
    std::error_code error;
    if (!path.filename().string().starts_with(kSegments)) continue;
    if (fs::file_size(path, error) == 0) continue;  // a rank may be creating it
    const std::optional<int64_t> freed = abandoned_bytes(path);
    if (freed && fs::remove(path, error)) bytes += *freed;
  }
  return bytes;
}

int64_t remove_launchers(const fs::path& folder) {
  const NoLeaseSignals quiet;
  int64_t bytes = 0;
  for (const fs::path& path : entries_of(folder)) {
    const std::optional<int64_t> freed = abandoned_bytes_below(path);
    std::error_code error;
    if (freed && fs::remove_all(path, error) > 0) bytes += *freed;
  }
  return bytes;
}

}  // namespace ropewalk
