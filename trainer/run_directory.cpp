#include "trainer/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "kernels/clock.h"
#include "kernels/error.h"
#include "parallel/host_name.h"
#include "trainer/crc32c.h"

namespace ropewalk {
namespace {

constexpr std::string_view kHolderMark = "process ";
constexpr std::string_view kConfigMark = "# Written by ropewalk train, and again by every start; crc32c of the rest: ";
constexpr int64_t kMostConfig = 64 << 20;  // bytes
constexpr double kMoment = 1;              // seconds to wait for a lock without a word

std::string this_process() { return fmt::format("{}{} on {}", kHolderMark, getpid(), host_name()); }

// The file's first bytes; a stranger's file is not believed to be short.
std::string beginning_of(int file) {
  char text[300];
  const ssize_t bytes = pread(file, text, sizeof text, 0);
  return std::string(text, bytes > 0 ? static_cast<size_t>(bytes) : 0);
}

// What the job that holds the lock wrote, printable.
std::string holder_in(int file) {
  std::string holder = beginning_of(file);
  std::erase_if(holder, [](char c) { return c < ' ' || c > '~'; });
  return holder.empty() ? "unknown" : holder;
}

bool no_room(int reason) { return reason == ENOSPC || reason == EDQUOT; }

std::string marked(std::string_view config) { return fmt::format("{}{:08x}\n{}", kConfigMark, crc32c(config), config); }

// The text below the mark; nothing if there is no mark.
std::optional<std::string_view> below_mark(std::string_view text) {
  const size_t line = text.find('\n');
  if (!text.starts_with(kConfigMark) || line == std::string_view::npos) return std::nullopt;
  return text.substr(line + 1);
}

}  // namespace

RunDirectory::RunDirectory(std::filesystem::path path, std::string config, std::chrono::milliseconds patience,
                           const Tell& tell, FileSystem& system)
    : path_(std::move(path)), config_(std::move(config)), system_(system) {
  try {
    make_directories(system_, path_);
    if (access(path_.c_str(), W_OK | X_OK) != 0) fail(std::strerror(errno));
    check_config();
    open_lock();
    take_lock(patience, tell);
    durable_ = sync_directory(system_, path_);
  } catch (const FileError& error) {
    if (file_ >= 0) close(file_);
    fail(error.what());
  } catch (...) {
    if (file_ >= 0) close(file_);
    throw;
  }
}

RunDirectory::~RunDirectory() {
  if (file_ >= 0) close(file_);
}

void RunDirectory::open_lock() {
  const std::filesystem::path path = path_ / "lock";
  try {
    file_ = open_file(system_, "open", path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK);
  } catch (const FileError& error) {
    if (!no_room(error.reason)) throw;
    return;  // a run goes on on a full disk, and starts on one
  }
  struct stat status {};
  const std::string text = beginning_of(file_);
  const bool ours = text.empty() || text.starts_with(kHolderMark);
  if (fstat(file_, &status) == 0 && S_ISREG(status.st_mode) && ours) return;
  throw ConfigurationError(
      fmt::format("{} is in the way: a run locks its directory by a file of that name, and this is none; rename it, or "
                  "name another output.directory",
                  path.string()));
}

// Ranks of a job that was killed hold the lock until the system has done with them.
void RunDirectory::take_lock(std::chrono::milliseconds patience, const Tell& tell) {
  if (file_ < 0) return;
  const double began = steady_seconds();
  for (bool told = false;;) {
    if (flock(file_, LOCK_EX | LOCK_NB) == 0) break;
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return;  // a file system without locks
    const double waited = steady_seconds() - began;
    if (waited >= std::chrono::duration<double>(patience).count())
      throw ConfigurationError(fmt::format(
          "output.directory is {}: another job is writing there ({}); wait for it, stop it, or name another directory",
          path_.string(), holder_in(file_)));
    if (waited >= kMoment && !told) {
      tell(fmt::format("waiting for another job that writes to {} ({})", path_.string(), holder_in(file_)));
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  locked_ = true;
  // For who waits to know; the lock holds without it, on a full disk.
  const std::string owner = this_process();
  if (ftruncate(file_, 0) != 0 || (pwrite(file_, owner.data(), owner.size(), 0) < 0 && !no_room(errno)))
    throw_file_error("write", path_ / "lock");
}

void RunDirectory::check_writable(const std::string& subdirectory) const {
  const std::filesystem::path path = path_ / subdirectory;
  std::error_code none;
  if (std::filesystem::symlink_status(path, none).type() == std::filesystem::file_type::not_found) return;
  const bool directory = std::filesystem::is_directory(path, none);
  if (directory && access(path.c_str(), W_OK | X_OK) == 0) return;
  throw ConfigurationError(fmt::format("{} cannot be written to ({}); mend that, or name another output.directory",
                                       path.string(), directory ? std::strerror(errno) : "not a directory"));
}

void RunDirectory::check_config() const {
  const PathKind kind = kind_of(config_path());
  if (kind == PathKind::kNone) return;
  if (kind == PathKind::kFile) {
    const std::string text = read_text(system_, config_path(), kMostConfig);
    // Without a mark: of a run from before there were marks, and what a full disk left of one.
    if (below_mark(text) || text == config_ || text.empty()) return;
  }
  throw ConfigurationError(
      fmt::format("{} is in the way: a run keeps its whole configuration under that name, and this file does not say "
                  "that one wrote it; rename it, or name another output.directory",
                  config_path().string()));
}

void RunDirectory::write_config(const Tell& tell) const {
  const std::string text = marked(config_);
  if (kind_of(config_path()) == PathKind::kFile) {
    const std::string before = read_text(system_, config_path(), kMostConfig);
    const std::optional<std::string_view> rest = below_mark(before);
    if (before == text) return;
    if (rest && before != marked(*rest)) {
      const std::filesystem::path kept = free_name(config_path());
      replace_file(system_, kept, before);
      tell(fmt::format("{} was edited since a run wrote it; it is kept as {}", config_path().string(), kept.string()));
    }
  }
  replace_file(system_, config_path(), text);
}

void RunDirectory::fail(std::string_view reason) const {
  throw ConfigurationError(fmt::format(
      "output.directory is {}: it cannot be written to ({}); name a directory that can", path_.string(), reason));
}

}  // namespace ropewalk
