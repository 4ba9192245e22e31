// A file that only grows, by whole records. A record that was written in part, because the disk was full, is cut off at
// once, or before the next record is written. Records that cannot be written stay in memory, up to 16 MiB.
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
  // Does not touch the disk. The first flush() creates the file and its directory; a later one does so again if the
  // file was moved away.
  explicit AppendFile(std::filesystem::path path, FileSystem& system = real_file_system());
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void add(std::string record);  // to the queue; drops the oldest records above 16 MiB
  // Writes the queued records. Throws FileError; then the records that were not written stay queued, and the file ends
  // after a whole record, or with a partial record that the next call cuts off before it writes.
  void flush();
  // flush(), then makes the records and the file's name durable.
  void sync();
  // How many records were dropped because the queue was full.
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
  std::optional<int64_t> torn_at_;  // where a partial record begins that is still to be cut off
  std::deque<std::string> waiting_;
  size_t waiting_bytes_ = 0;
  int64_t lost_ = 0;
};

}  // namespace ropewalk
