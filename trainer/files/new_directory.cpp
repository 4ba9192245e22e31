#include "trainer/files/new_directory.h"

#include <fcntl.h>
#include <sys/file.h>

#include "trainer/files/output_file.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

// "data/" and "data/." name the same directory as "data".
std::filesystem::path without_slash(std::filesystem::path path) {
  while (path.has_parent_path() && path != path.root_path() && (!path.has_filename() || path.filename() == "."))
    path = path.parent_path();
  return path;
}

void refuse_existing(FileSystem& system, const std::filesystem::path& path) {
  if (kind_of(path, system.owner()) == PathKind::kNone) return;
  throw_file_error(system.owner(),
                   fmt::format("{} exists; remove it, or give another name", printable_name(path.string())));
}

}  // namespace

NewDirectory::NewDirectory(FileSystem& system, std::filesystem::path path)
    : system_(system), path_(without_slash(std::move(path))), temporary_(beside(path_)) {
  if (path_.empty()) throw_file_error(system.owner(), "the name of the output is empty");
  refuse_existing(system, path_);
  make_directories(system, path_.parent_path());
  take_temporary();
}

// The lock is on the directory itself, so that it needs no file of its own.
void NewDirectory::take_temporary() {
  const bool is_new = retry([&] { return system_.mkdir(temporary_.c_str(), 0777); }) == 0;
  if (!is_new && errno != EEXIST) throw_file_error(system_.owner(), "make the directory", temporary_);
  try {
    file_ = open_file(system_, "open", temporary_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    const int error = retry([&] { return system_.flock(file_, LOCK_EX | LOCK_NB); }) == 0 ? 0 : errno;
    // Before the lock was taken, its last holder may have renamed the directory.
    if (error == EWOULDBLOCK || (error == 0 && !leads_to(temporary_, file_)))
      throw_file_error(system_.owner(), fmt::format("another process is writing {}", printable_name(path_.string())));
    if (error != 0 && !is_new)
      throw_file_error(system_.owner(), fmt::format("{} exists, and this file system has no locks to tell whether "
                                                    "someone is writing it; remove it if nobody is",
                                                    printable_name(temporary_.string())));
    if (!is_new) remove_contents(system_, temporary_);
  } catch (...) {
    if (file_ >= 0)
      system_.close(file_);
    else if (is_new)
      system_.rmdir(temporary_.c_str());
    throw;
  }
}

NewDirectory::~NewDirectory() {
  try {
    if (!taken_) remove_tree(system_, temporary_);
  } catch (const Error&) {  // the next attempt tries again
  }
  if (file_ >= 0) system_.close(file_);
}

void NewDirectory::require_room(int64_t bytes) const {
  std::error_code unknown;
  const std::filesystem::space_info space = std::filesystem::space(temporary_, unknown);
  if (unknown || space.available >= static_cast<uint64_t>(bytes)) return;
  throw_file_error(
      system_.owner(),
      fmt::format("{} needs {}, and its file system has {} free; free space there, or write to another one",
                  printable_name(path_.string()), bytes_text(static_cast<double>(bytes)),
                  bytes_text(static_cast<double>(space.available))));
}

bool NewDirectory::take_name() {
  sync_directory(system_, temporary_);
  refuse_existing(system_, path_);
  rename_path(system_, temporary_, path_);
  try {
    const bool durable = sync_parent(system_, path_);
    taken_ = true;
    return durable;
  } catch (const Error&) {
    system_.rename(path_.c_str(), temporary_.c_str());  // so that the destructor removes it
    throw;
  }
}

}  // namespace ropewalk
