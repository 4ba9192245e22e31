// The contents of an input file from its beginning to its end, decompressed if its first bytes are those of gzip or
// zstd (decompressor.h). Works on pipes too.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/decompressor.h"
#include "trainer/files/input_file.h"

namespace ropewalk {

// `file` without the extension .gz or .zst, in any case.
std::string without_compression(const std::string& file);

class InputStream {
 public:
  explicit InputStream(const std::string& path);

  // Reads the next bytes of the contents, and returns how many: fewer than bytes.size() only at the end. Throws
  // DataError, with the place in the file, for compressed bytes that are damaged or end too early, and for a file that
  // changes while it is read; and Interrupted (input_file.h).
  size_t read_next(std::span<char> bytes);

  const InputFile& file() const { return file_; }
  bool is_compressed() const { return decompressor_ != nullptr; }
  int64_t file_bytes() const { return read_ - static_cast<int64_t>(end_ - begin_); }  // of the file, used so far

 private:
  size_t read_file(std::span<char> bytes);
  size_t decompress(std::span<char> bytes);
  void check_unchanged() const;
  [[noreturn]] void fail(std::string_view what) const;

  InputFile file_;
  InputFile::Version version_;  // when the file was opened
  std::vector<char> buffer_;    // bytes of the file
  size_t begin_ = 0, end_ = 0;  // those that are not used yet
  bool at_end_ = false;         // of the file
  int64_t read_ = 0;
  std::unique_ptr<Decompressor> decompressor_;
};

}  // namespace ropewalk
