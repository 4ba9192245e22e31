// A directory that is complete or absent: it is written under a temporary name beside its final one, and then renamed.
#pragma once

#include <cstdint>
#include <filesystem>

#include "trainer/files/file_system.h"

namespace ropewalk {

class NewDirectory {
 public:
  // Makes the temporary directory (beside()), and missing parents. Throws the owner's error if something exists at
  // `path`, or if another process is writing it. What a killed process has left under the temporary name is removed.
  NewDirectory(FileSystem& system, std::filesystem::path path);
  ~NewDirectory();  // removes the temporary directory, unless take_name() has succeeded
  NewDirectory(const NewDirectory&) = delete;
  NewDirectory& operator=(const NewDirectory&) = delete;

  // Throws the owner's error if the file system has fewer than `bytes` free, so that a full disk is not found at the
  // end.
  void require_room(int64_t bytes) const;
  const std::filesystem::path& temporary() const { return temporary_; }
  // Fsyncs the directory and renames it to its final name; its files must be closed. Throws the owner's error if
  // something has appeared there. Returns as rename_durably().
  bool take_name();

 private:
  void take_temporary();

  FileSystem& system_;
  std::filesystem::path path_, temporary_;
  int file_ = -1;  // the temporary directory, locked
  bool taken_ = false;
};

}  // namespace ropewalk
