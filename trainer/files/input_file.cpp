#include "trainer/files/input_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <utility>

#include "trainer/text/format.h"

namespace ropewalk {
namespace {

struct stat status_of(FileSystem& system, int file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file, &status) != 0) throw_file_error(system.owner(), "read the size of", path);
  return status;
}

int open_input(FileSystem& system, const std::filesystem::path& path) {
  // O_NONBLOCK: open() of a pipe would wait for a writer. It changes nothing for a regular file.
  if (system.owner() == FileOwner::kRun) return open_file(system, "open", path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  const int file = system.open(path.c_str(), O_RDONLY | O_CLOEXEC, 0);
  if (file < 0 && errno == EINTR) throw Interrupted();  // while waiting for a pipe's writer
  if (file < 0) throw_file_error(system.owner(), "read", path);
  return file;
}

}  // namespace

InputFile::InputFile(FileSystem& system, std::filesystem::path path)
    : system_(system), path_(std::move(path)), file_(open_input(system, path_)) {
  try {
    const struct stat status = status_of(system_, file_, path_);
    if (owner() == FileOwner::kRun && !S_ISREG(status.st_mode))
      throw_file_error(system_.owner(), fmt::format("{} is no regular file", printable_name(path_.string())));
    if (S_ISDIR(status.st_mode))
      throw_file_error(system_.owner(),
                       fmt::format("cannot read {}: it is a folder; name a file", printable_name(path_.string())));
    size_ = status.st_size;
  } catch (...) {
    system_.close(file_);
    throw;
  }
}

InputFile::InputFile(InputFile&& other) noexcept
    : system_(other.system_),
      path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      size_(other.size_) {}

InputFile::~InputFile() {
  if (file_ >= 0) system_.close(file_);
}

void InputFile::read(int64_t offset, void* data, size_t bytes) const {
  char* next = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = retry([&] { return system_.pread(file_, next, bytes, offset); });
    if (got < 0) throw_file_error(system_.owner(), "read", path_);
    if (got == 0) {
      throw_file_error(
          system_.owner(),
          fmt::format("{} ends at byte {}, {} bytes before it should (at byte {}): it was cut while it was in use",
                      printable_name(path_.string()), offset, bytes, offset + static_cast<int64_t>(bytes)));
    }
    next += got;
    offset += got;
    bytes -= static_cast<size_t>(got);
  }
}

size_t InputFile::read_next(std::span<char> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = system_.read(file_, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) throw Interrupted();
    if (count < 0) throw_file_error(system_.owner(), "read", path_);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

InputFile::Version InputFile::version() const {
  const struct stat status = status_of(system_, file_, path_);
  if (!S_ISREG(status.st_mode)) return {};
  return {status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

bool InputFile::has_name() const {
  return leads_to(path_, file_, owner() == FileOwner::kData ? Links::kFollowed : Links::kRefused);
}

std::string read_text(FileSystem& system, const std::filesystem::path& path, int64_t limit) {
  const InputFile file(system, path);
  if (file.size() > limit)
    throw_file_error(system.owner(), fmt::format("{} has {} bytes; at most {} are read", printable_name(path.string()),
                                                 file.size(), limit));
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, text.data(), text.size());
  return text;
}

MappedFile::MappedFile(InputFile file) : file_(std::move(file)) {
  if (file_.size() == 0) return;  // an empty mapping is not allowed
  void* data = ::mmap(nullptr, static_cast<size_t>(file_.size()), PROT_READ, MAP_PRIVATE, file_.descriptor(), 0);
  if (data == MAP_FAILED) throw_file_error(file_.owner(), "map", file_.path());
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), static_cast<size_t>(file_.size()));
}

}  // namespace ropewalk
