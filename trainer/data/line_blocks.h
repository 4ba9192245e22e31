// A file, a block at a time: each block ends after a newline, at the end of the file, or, where a line is longer than a
// block, as LongLines says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/file.h"

namespace ropewalk {

class LineBlocks {
 public:
  enum class LongLines {
    kCut,   // within the line, between characters
    kWhole  // never: the block grows to hold the line
  };

  static constexpr size_t kBlockBytes = size_t{1} << 20;
  static constexpr size_t kMaxLineBytes = size_t{1} << 30;  // a longer one that must be whole is an error
  static constexpr size_t kPadding = 64;                    // what simdjson may read beyond a line

  // Skips a byte order mark at the beginning of the file. Throws DataError for a file of another kind than text, by its
  // first bytes.
  LineBlocks(const std::string& path, LongLines long_lines, size_t max_line_bytes = kMaxLineBytes);

  // The next block, valid until the next call; empty at the end. kPadding bytes behind it may be read. Throws DataError
  // where the file changes meanwhile.
  std::string_view next();
  int64_t position() const { return position_; }  // bytes of the file up to the end of the last block

 private:
  void check_unchanged() const;
  void fill();                  // reads until the buffer is full or the file ends
  size_t block_length() const;  // 0 at the end of the file, and where the buffer does not hold a whole line

  File file_;
  File::Version version_;  // when it was opened
  LongLines long_lines_;
  size_t max_line_bytes_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // bytes of the buffer that are still to be handed out
  bool at_end_ = false;
  int64_t read_ = 0, position_ = 0;
};

}  // namespace ropewalk
