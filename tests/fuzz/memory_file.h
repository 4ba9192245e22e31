// A file in memory, for parsers that read a file.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "trainer/files/file_system.h"

namespace ropewalk {

// Every path leads to a file with these bytes.
class OneFile : public FileSystem {
 public:
  explicit OneFile(std::string_view bytes) : bytes_(bytes) {}

  int open(const char*, int, mode_t) override {
    const int file = ::memfd_create("input", MFD_CLOEXEC);
    if (file < 0 || ::write(file, bytes_.data(), bytes_.size()) != static_cast<ssize_t>(bytes_.size())) std::abort();
    return file;
  }

 private:
  std::string_view bytes_;
};

}  // namespace ropewalk
