#include "tests/support/flipped_bits.h"

#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"

namespace ropewalk {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file()) files.push_back(entry.path());
  return files;
}

int64_t flip_bits(const fs::path& directory, size_t stride, const std::function<std::string()>& refusal) {
  int64_t flips = 0;
  EXPECT_EQ(refusal(), "");
  for (const fs::path& file : files_of(directory)) {
    const std::string whole = read_file(file);
    std::string damaged = whole;
    for (size_t at = 0; at < whole.size(); at += stride) {
      damaged[at] = static_cast<char>(whole[at] ^ (1 << (at % 8)));
      write_file(file, damaged);
      EXPECT_NE(refusal(), "") << "byte " << at << " of " << file;
      damaged[at] = whole[at];
      ++flips;
    }
    write_file(file, whole);
  }
  EXPECT_EQ(refusal(), "");
  return flips;
}

}  // namespace ropewalk
