#include "trainer/run/run_directory.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "kernels/clock.h"
#include "kernels/error.h"
#include "trainer/files/crc32c.h"
#include "trainer/files/input_file.h"
#include "trainer/files/output_file.h"

namespace ropewalk {
namespace {

constexpr std::string_view kConfigMark = "# Written by ropewalk train, and again by every start; crc32c of the rest: ";
constexpr int64_t kMostConfig = 64 << 20;  // bytes
constexpr double kMoment = 1;              // seconds to wait for a lock before saying so

std::string marked(std::string_view config) { return fmt::format("{}{:08x}\n{}", kConfigMark, crc32c(config), config); }

// The text below the mark; nullopt if there is no mark.
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
    take_lock(patience, tell);
    durable_ = sync_directory(system_, path_);
  } catch (const FileError& error) {
    if (error.reason != 0) fail(error.what());
    throw ConfigurationError(fmt::format("{}, or name another output.directory", error.what()));
  }
}

// The ranks of a killed job hold the lock until the system has ended them.
void RunDirectory::take_lock(std::chrono::milliseconds patience, const Tell& tell) {
  try {
    lock_.emplace(path_ / "lock", LockFile::AtEnd::kStays, system_);
  } catch (const FileError& error) {
    if (!is_no_room(error.reason)) throw;
    return;  // a run continues on a full disk, so it also starts on one
  }
  const double began = steady_seconds();
  for (bool told = false; lock_->state() == LockFile::State::kHeldByAnother; lock_->try_again()) {
    const double waited = steady_seconds() - began;
    if (waited >= std::chrono::duration<double>(patience).count())
      throw ConfigurationError(fmt::format(
          "output.directory is {}: another job is writing there ({}); wait for it, stop it, or name another directory",
          path_.string(), lock_->holder()));
    if (waited >= kMoment && !told) {
      tell(fmt::format("waiting for another job that writes to {} ({})", path_.string(), lock_->holder()));
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

void RunDirectory::check_writable(const std::string& subdirectory) const {
  const std::filesystem::path path = path_ / subdirectory;
  std::error_code none;
  if (std::filesystem::symlink_status(path, none).type() == std::filesystem::file_type::not_found) return;
  const bool directory = std::filesystem::is_directory(path, none);
  if (directory && access(path.c_str(), W_OK | X_OK) == 0) return;
  throw ConfigurationError(fmt::format("{} cannot be written to ({}); fix that, or name another output.directory",
                                       path.string(), directory ? std::strerror(errno) : "not a directory"));
}

void RunDirectory::check_config() const {
  const PathKind kind = kind_of(config_path());
  if (kind == PathKind::kNone) return;
  if (kind == PathKind::kFile) {
    const std::string text = read_text(system_, config_path(), kMostConfig);
    // A file without a mark may be from before there were marks (then it must equal this run's), or empty because the
    // disk was full.
    if (below_mark(text) || text == config_ || text.empty()) return;
  }
  throw ConfigurationError(fmt::format(
      "{} is in the way: a run writes its resolved configuration under that name, and no run wrote this file; "
      "rename it, or name another output.directory",
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
      "output.directory is {}: it cannot be written to ({}); name a writable directory", path_.string(), reason));
}

}  // namespace ropewalk
