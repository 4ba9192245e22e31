#include "trainer/data/input_stream.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "kernels/error.h"
#include "trainer/data/file_kind.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr size_t kCompressedBytes = size_t{1} << 18;  // read at a time

}  // namespace

std::string without_compression(const std::string& file) {
  const std::string extension = lower_extension(file);
  return file.substr(0, file.size() - (extension == ".gz" || extension == ".zst" ? extension.size() : 0));
}

InputStream::InputStream(const std::string& path)
    : file_(real_file_system(FileOwner::kData), path), version_(file_.version()), buffer_(kKindBytes) {
  end_ = read_file(buffer_);
  decompressor_ = make_decompressor({buffer_.data(), end_});
}

// If the file is written while it is read, old and new contents would be mixed.
void InputStream::check_unchanged() const {
  const InputFile::Version now = file_.version();
  if (now == version_) return;
  throw DataError(fmt::format(
      "{} changed while it was read{}; start again when nothing writes to it", printable_name(file_.path().string()),
      now.size == version_.size ? "" : fmt::format(" (it had {} bytes, and has {})", version_.size, now.size)));
}

size_t InputStream::read_file(std::span<char> bytes) {
  const size_t count = file_.read_next(bytes);
  at_end_ = count < bytes.size();
  read_ += static_cast<int64_t>(count);
  if (at_end_ || read_ > version_.size) check_unchanged();
  return count;
}

size_t InputStream::read_next(std::span<char> bytes) {
  if (decompressor_) return decompress(bytes);
  const size_t buffered = std::min(bytes.size(), end_ - begin_);
  std::memcpy(bytes.data(), buffer_.data() + begin_, buffered);
  begin_ += buffered;
  return buffered + (at_end_ ? 0 : read_file(bytes.subspan(buffered)));
}

size_t InputStream::decompress(std::span<char> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    if (begin_ == end_ && !at_end_) {
      buffer_.resize(kCompressedBytes);
      begin_ = 0;
      end_ = read_file(buffer_);
    }
    Decompressor::Step step;
    try {
      step = decompressor_->step({buffer_.data() + begin_, end_ - begin_}, bytes.subspan(done));
    } catch (const DataError& error) {
      fail(error.what());
    }
    begin_ += step.consumed;
    done += step.produced;
    if (step.produced > 0 || begin_ < end_ || !at_end_) continue;
    if (!decompressor_->is_complete()) fail("it ends too early: it was cut");
    break;
  }
  return done;
}

void InputStream::fail(std::string_view what) const {
  throw DataError(fmt::format("{}, compressed by {}, cannot be decompressed near byte {}: {}; copy it again",
                              printable_name(file_.path().string()), decompressor_->name(), file_bytes(), what));
}

}  // namespace ropewalk
