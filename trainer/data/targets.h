// Which tokens of a dataset are targets: a loss is taken where such a token is predicted. PREFIX.targets has one bit
// for each token of PREFIX.bin, all little-endian:
//
//     0   magic "RWTARGET"
//     8   version, u32 = 1
//    12   CRC-32C of all bytes after it, u32
//    16   N: number of tokens, u64
//    24   the bits: token i is bit i % 8 (1 << (i % 8)) of byte i / 8; unused bits of the last byte are 0
//
// A dataset without this file has every token as a target. The first token of a document is never predicted, whatever
// its bit is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/files/input_file.h"
#include "trainer/files/output_file.h"

namespace ropewalk {

inline constexpr const char* kTargetsExtension = ".targets";

namespace targets {
inline constexpr std::string_view kMagic = "RWTARGET";
inline constexpr uint32_t kVersion = 1;
inline constexpr int64_t kHeaderBytes = 24, kCheckedFrom = 16;  // the CRC covers the bytes from kCheckedFrom on
}  // namespace targets

// Reads the file, memory-mapped. Safe for several threads.
class TargetMask {
 public:
  // name: of the file. tokens: of the dataset's index. Reads every byte once, for the checksum. Throws DataError,
  // naming the file, for one that cannot be read, is damaged, or belongs to another dataset.
  TargetMask(const std::string& name, int64_t tokens, FileSystem& system = real_file_system(FileOwner::kData));

  int64_t tokens() const { return tokens_; }
  bool operator[](int64_t token) const { return byte_of(token) >> token % 8 & 1; }
  // The first target in [begin, end); `end` if there is none. Skips eight tokens without a target at a time.
  int64_t find(int64_t begin, int64_t end) const;
  int64_t count(int64_t begin, int64_t end) const;

 private:
  unsigned byte_of(int64_t token) const {
    return std::to_integer<unsigned>(file_.bytes()[static_cast<size_t>(targets::kHeaderBytes + token / 8)]);
  }

  MappedFile file_;
  int64_t tokens_;
};

// The mask of the dataset, or null if it has none.
std::unique_ptr<const TargetMask> open_target_mask(const std::string& prefix, int64_t tokens);

// Writes the file as a stream: append() for the tokens in order. The caller gives the file its final name.
class TargetWriter {
 public:
  explicit TargetWriter(OutputFile& file);
  void append(const std::vector<bool>& is_target);
  int64_t tokens() const { return tokens_; }
  void finish();  // writes the rest and the header; the caller closes the file

 private:
  void flush();

  OutputFile& file_;
  std::vector<unsigned char> bytes_;  // not written yet; the last may be incomplete
  int64_t tokens_ = 0;
};

}  // namespace ropewalk
