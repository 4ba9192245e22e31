// Files that are written: where they stay, or beside the name that they take when they are whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "trainer/files/file_system.h"

namespace ropewalk {

// A new file, never through a link; one that exists already is an error. close() makes it durable; a file that is not
// closed is abandoned.
class OutputFile {
 public:
  OutputFile(FileSystem& system, std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, size_t bytes);  // after what was written
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  void write_at(int64_t offset, const void* data, size_t bytes);  // over what was written
  void read(int64_t offset, void* data, size_t bytes) const;      // of what was written
  void close();                                                   // fsync and close
  int64_t size() const { return size_; }                          // bytes that were written one after the other
  const std::filesystem::path& path() const { return path_; }

 protected:
  FileSystem& system() const { return system_; }

 private:
  FileSystem& system_;
  std::filesystem::path path_;
  int file_;
  int64_t size_ = 0;
};

// A file that is written beside its name: it takes the name when it is whole, or is removed. Whenever that ends early,
// what had the name is there, or the new file. Whether what is there may be replaced is for the caller to know.
class NewFile : public OutputFile {
 public:
  // What is to be done about something at `temporary`, which may be a link from elsewhere and is never written to.
  // kRemove only where a lock, or the name, says that nobody is writing it.
  enum class Leftover { kRemove, kRefuse };
  NewFile(FileSystem& system, std::filesystem::path path, const std::filesystem::path& temporary, Leftover leftover);
  ~NewFile();
  bool take_name();               // after close(); as rename_durably()
  void stay() { stays_ = true; }  // it is no longer removed, but stays where it is until someone renames it

 private:
  std::filesystem::path final_path_;
  bool stays_ = false;
};

// Where a run's file is written before it takes its name: a name that only this program gives.
std::filesystem::path beside(const std::filesystem::path& path);
// Writes PATH by way of that.
void replace_file(FileSystem& system, const std::filesystem::path& path, std::string_view bytes);

}  // namespace ropewalk
