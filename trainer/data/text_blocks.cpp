#include "trainer/data/text_blocks.h"

#include <algorithm>
#include <cstring>

#include "kernels/error.h"
#include "trainer/data/file_kind.h"
#include "trainer/text/format.h"
#include "trainer/text/utf8.h"

namespace ropewalk {

TextBlocks::TextBlocks(const std::string& path, End end, size_t block_bytes, size_t max_line_bytes)
    : stream_(path),
      block_end_(end),
      max_line_bytes_(max_line_bytes),
      buffer_(std::max(block_bytes, kKindBytes) + kPadding) {
  fill();
  const std::string_view beginning(buffer_.data(), std::min(end_, kKindBytes));
  refuse_foreign(path, beginning);
  if (beginning.starts_with("\xEF\xBB\xBF")) begin_ = 3;
  position_ = static_cast<int64_t>(begin_);
}

void TextBlocks::fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  const size_t room = buffer_.size() - kPadding - end_;
  const size_t count = stream_.read_next({buffer_.data() + end_, room});
  end_ += count;
  at_end_ = count < room;
}

size_t TextBlocks::block_length() const {
  const std::string_view rest(buffer_.data() + begin_, end_ - begin_);
  if (at_end_) return rest.size();
  return block_end_ == End::kCharacter ? length_in_whole_characters(rest) : rest.rfind('\n') + 1;  // npos + 1 is 0
}

std::string_view TextBlocks::next() {
  if (!at_end_) fill();
  size_t length = block_length();
  while (length == 0 && !at_end_) {
    if (end_ - begin_ > max_line_bytes_) {
      throw DataError(
          fmt::format("{} has a line of more than {} bytes, and lines of JSON, or of text with "
                      "--skip-bad-lines, must fit in memory; break it into several",
                      printable_name(stream_.file().path().string()), max_line_bytes_));
    }
    buffer_.resize(2 * buffer_.size());
    fill();
    length = block_length();
  }
  const std::string_view block(buffer_.data() + begin_, length);
  begin_ += length;
  position_ += static_cast<int64_t>(length);
  return block;
}

}  // namespace ropewalk
