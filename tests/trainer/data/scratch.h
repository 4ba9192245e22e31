// A folder for a test's files, and the files.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {

class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();  // removes it with all that is in it
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  std::vector<std::string> names() const;  // of what is in it, sorted

 private:
  std::string path_;
};

void write_file(const std::string& path, std::string_view bytes);
std::string read_file(const std::string& path);

// The bytes of values, one after the other.
template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// The .idx of a dataset, field by field, for tests to spoil.
struct IndexBytes {
  std::string magic = std::string("MMIDIDX\0\0", 9);
  uint64_t version = 1;
  uint8_t type = 8;
  std::vector<int32_t> lengths;
  std::vector<int64_t> offsets, documents;
  std::string text() const;
};

// Runs `body` and expects an error of type E whose message holds every one of `parts`.
template <typename E, typename Body>
void expect_error(const Body& body, const std::vector<std::string>& parts) {
  try {
    body();
    ADD_FAILURE() << "no error; expected one with: " << ::testing::PrintToString(parts);
  } catch (const E& error) {
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "'" << part << "' is not in: " << error.what();
    }
  }
}

// While it lives, this process has no more rights than the user nobody, where it is root; elsewhere it has no more
// anyway.
class AsNobody {
 public:
  AsNobody();
  ~AsNobody();

 private:
  bool changed_ = false;
};

}  // namespace ropewalk
