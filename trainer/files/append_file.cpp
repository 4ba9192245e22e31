#include "trainer/files/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr size_t kMostWaiting = 16 << 20;  // bytes: some 20,000 steps

}  // namespace

AppendFile::AppendFile(std::filesystem::path path, FileSystem& system) : path_(std::move(path)), system_(system) {}

AppendFile::~AppendFile() { close(); }

void AppendFile::close() {
  if (file_ >= 0) system_.close(std::exchange(file_, -1));
}

// Opens the file, unless it is open and path_ still leads to it: log rotation may have moved it away.
void AppendFile::open() {
  if (file_ >= 0 && leads_to(path_, file_)) return;
  close();
  make_directories(system_, path_.parent_path());
  // O_NONBLOCK: open() of a pipe would wait for a reader. It changes nothing for a regular file.
  const int file = open_file(system_, "write", path_, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK);
  struct stat here {};
  if (::fstat(file, &here) != 0 || !S_ISREG(here.st_mode)) {
    system_.close(file);
    throw_file_error(system_.owner(), fmt::format("cannot write {}: it is no regular file; move it away",
                                                  printable_name(path_.string())));
  }
  file_ = file;
  name_durable_ = false;
  torn_at_.reset();
}

void AppendFile::add(std::string record) {
  waiting_bytes_ += record.size();
  waiting_.push_back(std::move(record));
  for (; waiting_bytes_ > kMostWaiting; ++lost_) {
    waiting_bytes_ -= waiting_.front().size();
    waiting_.pop_front();
  }
}

void AppendFile::flush() {
  if (waiting_.empty()) return;
  open();
  while (!waiting_.empty()) {
    write_record(waiting_.front());
    waiting_bytes_ -= waiting_.front().size();
    waiting_.pop_front();
  }
}

void AppendFile::write_record(const std::string& record) {
  cut_torn_record();
  struct stat before {};
  if (::fstat(file_, &before) != 0) throw_file_error(system_.owner(), "look at", path_);
  std::string_view rest = record;
  while (!rest.empty()) {
    const ssize_t written = retry([&] { return system_.write(file_, rest.data(), rest.size()); });
    if (written <= 0) {
      const int reason = written < 0 ? errno : EIO;
      if (rest.size() < record.size()) torn_at_ = before.st_size;
      try {
        cut_torn_record();
      } catch (const Error&) {  // the next call tries again, before it writes
      }
      throw_file_error(system_.owner(), "write", path_, reason);
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
}

void AppendFile::cut_torn_record() {
  struct stat now {};
  if (!torn_at_) return;
  if (::fstat(file_, &now) != 0) throw_file_error(system_.owner(), "look at", path_);
  if (now.st_size > *torn_at_ && retry([&] { return system_.ftruncate(file_, *torn_at_); }) < 0)
    throw_file_error(system_.owner(), "cut off half a record at the end of", path_);
  torn_at_.reset();
}

void AppendFile::sync() {
  flush();
  if (file_ < 0) return;
  sync_file(system_, file_, path_);
  if (!name_durable_) sync_parent(system_, path_);
  name_durable_ = true;
}

}  // namespace ropewalk
