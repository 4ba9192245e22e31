// A file that only grows, a whole record at a time: what a reader sees never ends in the middle of a record, also after
// the disk was full. What cannot be written waits.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>

#include "trainer/files/file_system.h"

namespace ropewalk {

class AppendFile {
 public:
  // Touches nothing yet. The file, and its directory, are made by the first flush, and again after someone has moved
  // the file away.
  explicit AppendFile(std::filesystem::path path, FileSystem& system = real_file_system());
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void add(std::string record);  // to what waits
  // Writes what waits. Throws FileError; then the file ends with a whole record, or with half of one that the next call
  // cuts off before it writes, and the rest waits.
  void flush();
  // The same, and makes it durable, the file's name too.
  void sync();
  // Records that have waited for so long that there was no more room for them.
  int64_t lost() const { return lost_; }

 private:
  void open();
  void close();
  void write_record(const std::string& record);
  void cut_torn_record();

  std::filesystem::path path_;
  FileSystem& system_;
  int file_ = -1;
  bool name_durable_ = false;
  std::optional<int64_t> torn_at_;  // where half a record begins that could not be cut off
  std::deque<std::string> waiting_;
  size_t waiting_bytes_ = 0;
  int64_t lost_ = 0;
};

}  // namespace ropewalk
