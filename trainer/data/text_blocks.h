// A file of text, a block at a time, which ends after a line or between characters, so that it can be looked at alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/files/input_file.h"

namespace ropewalk {

class TextBlocks {
 public:
  enum class End {
    kCharacter,  // between characters, anywhere
    kLine        // after a newline: the block grows to hold a line; the last one may end without
  };

  static constexpr size_t kMaxLineBytes = size_t{1} << 30;  // a longer one that a block must hold is an error
  static constexpr size_t kPadding = 64;                    // what simdjson may read beyond a line

  // Skips a byte order mark at the beginning of the file. Throws DataError for a file of another kind than text, by its
  // first bytes. Reads `block_bytes` at a time, or kKindBytes where that is more.
  TextBlocks(const std::string& path, End end, size_t block_bytes, size_t max_line_bytes = kMaxLineBytes);

  // The next block, valid until the next call; empty at the end. kPadding bytes behind it may be read. Throws DataError
  // where the file changes meanwhile.
  std::string_view next();
  int64_t position() const { return position_; }  // bytes of the file up to the end of the last block

 private:
  void check_unchanged() const;
  void fill();                  // reads until the buffer is full or the file ends
  size_t block_length() const;  // 0 at the end of the file, and where the buffer does not hold what a block must

  InputFile file_;
  InputFile::Version version_;  // when it was opened
  End block_end_;
  size_t max_line_bytes_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // bytes of the buffer that are still to be handed out
  bool at_end_ = false;
  int64_t read_ = 0, position_ = 0;
};

}  // namespace ropewalk
