// Files as the data code uses them: every failure is a DataError that names the file, the cause and a remedy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>

#include "kernels/error.h"

namespace ropewalk {

// Thrown where a signal that is caught without SA_RESTART breaks a wait for input; nobody else catches such signals.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted by a signal"; }
};

// "cannot WHAT PATH: ...", with what to do about the system's error `code`.
DataError file_error(const char* what, const std::string& path, int code);

class File {
 public:
  static File open(const std::string& path);  // for reading; also a pipe, not a folder
  File(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  const std::string& path() const { return path_; }
  int descriptor() const { return descriptor_; }
  int64_t size() const;
  struct Version {  // tells whether a regular file was written; of others, nothing does
    int64_t size = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Version&) const = default;
  };
  Version version() const;
  bool has_name() const;               // its path still leads to it: it was not replaced or removed
  size_t read(std::span<char> bytes);  // the next bytes, fewer only at the end; throws Interrupted
  void read_at(int64_t offset, void* bytes, size_t count) const;   // all of them
  void write(const void* bytes, size_t count);                     // after what was written
  void write_at(int64_t offset, const void* bytes, size_t count);  // all of them
  void sync();                                                     // until the device has them

 protected:
  File(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

 private:
  std::string path_;
  int descriptor_;
};

// A file that is written beside its name, as PATH.tmp, never through a link: it takes the name when it is whole, or is
// removed.
class NewFile : public File {
 public:
  // What is to be done about a PATH.tmp that is there. kRemove only where a lock says that nobody is writing it.
  enum class Leftover { kRemove, kRefuse };
  NewFile(const std::string& path, Leftover leftover);
  NewFile(NewFile&&) = delete;
  ~NewFile();
  void publish();  // renames; sync() comes before, sync_folder_of() after

 private:
  std::string final_path_;
  bool published_ = false;
};

// Makes renames in it last. False where the file system knows nothing of the kind (sync_directory).
bool sync_folder_of(const std::string& path);

// A file's bytes as memory, read-only. The file must not shrink meanwhile.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  bool has_name() const { return file_.has_name(); }

 private:
  File file_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace ropewalk
