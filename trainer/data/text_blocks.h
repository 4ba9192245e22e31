// Reads a text file, which may be compressed, in blocks. Each block ends after a line or between characters, so it can
// be checked by itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/input_stream.h"

namespace ropewalk {

class TextBlocks {
 public:
  enum class End {
    kCharacter,  // between characters, anywhere
    // After a newline; the block grows until it holds a whole line. The last line of the file may lack its newline.
    kLine
  };

  static constexpr size_t kMaxLineBytes = size_t{1} << 30;  // with End::kLine, a longer line is an error
  static constexpr size_t kPadding = 64;                    // what simdjson may read beyond a line

  // Reads `block_bytes` at a time, but at least kKindBytes (file_kind.h). Skips a byte order mark at the beginning of
  // the file. Throws DataError if the first bytes show that the file is not text.
  TextBlocks(const std::string& path, End end, size_t block_bytes, size_t max_line_bytes = kMaxLineBytes);

  // The next block, valid until the next call; empty at the end. kPadding bytes behind it may be read. Throws as
  // InputStream::read_next().
  std::string_view next();
  // Bytes of the file up to the end of the last block; of a compressed file, all bytes that were used so far.
  int64_t position() const { return stream_.is_compressed() ? stream_.file_bytes() : position_; }

 private:
  void fill();                  // reads until the buffer is full or the file ends
  size_t block_length() const;  // of the next block; 0 if there is no whole line (character) in the buffer

  InputStream stream_;
  End block_end_;
  size_t max_line_bytes_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // bytes of the buffer that next() has not returned yet
  bool at_end_ = false;
  int64_t position_ = 0;
};

}  // namespace ropewalk
