// Files to write: in place (OutputFile), or under a temporary name until they are complete (NewFile).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "trainer/files/file_system.h"

namespace ropewalk {

// Creates a new file; an existing file, or a link, is an error. close() makes its contents durable; the destructor does
// not.
class OutputFile {
 public:
  OutputFile(FileSystem& system, std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, size_t bytes);  // appends
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  void write_at(int64_t offset, const void* data, size_t bytes);  // overwrites
  void read(int64_t offset, void* data, size_t bytes) const;      // reads back
  void close();                                                   // fsync and close
  int64_t size() const { return size_; }                          // bytes appended by write()
  const std::filesystem::path& path() const { return path_; }

 protected:
  FileSystem& system() const { return system_; }

 private:
  FileSystem& system_;
  std::filesystem::path path_;
  int file_;
  int64_t size_ = 0;
};

// Creates the file with these contents, fsynced. An existing file, or a link, is an error.
void create_file(FileSystem& system, const std::filesystem::path& path, std::string_view bytes);

// Writes a file under a temporary name. take_name() renames it to its final name; without that, the destructor removes
// it. At whatever moment the program ends, the final name has either its old file or the complete new one. take_name()
// replaces an existing file; the caller must know that this is allowed.
class NewFile : public OutputFile {
 public:
  // What to do if `temporary` exists: remove it, or throw. The existing file is never written to, because it may be a
  // link to another file. Use kRemove only if a lock, or a name that only this program uses, guarantees that nothing is
  // writing to it.
  enum class Leftover { kRemove, kRefuse };
  NewFile(FileSystem& system, std::filesystem::path path, const std::filesystem::path& temporary, Leftover leftover);
  ~NewFile();
  bool take_name();               // after close(); returns as rename_durably()
  void stay() { stays_ = true; }  // the destructor does not remove it; the caller renames it

 private:
  std::filesystem::path final_path_;
  bool stays_ = false;
};

// The temporary name for a run's file `path`, a name that only this program uses.
std::filesystem::path beside(const std::filesystem::path& path);
// Replaces the file at `path`: writes beside(path), then renames it.
void replace_file(FileSystem& system, const std::filesystem::path& path, std::string_view bytes);

}  // namespace ropewalk
