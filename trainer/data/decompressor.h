// Decompresses gzip (RFC 1952) and zstd (RFC 8878) as a stream. Members (gzip) and frames (zstd) may follow one
// another; their contents are concatenated. Memory is bounded, whatever the compressed bytes claim: 32 KiB for gzip,
// and for zstd the frame's window, of at most 128 MiB.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace ropewalk {

class Decompressor {
 public:
  struct Step {
    size_t consumed = 0, produced = 0;  // bytes
  };

  virtual ~Decompressor() = default;
  // Decompresses the beginning of `from` into the beginning of `to`, which is not empty. A step that produces nothing
  // has consumed all of `from`. Throws DataError with what is wrong, without a file name.
  virtual Step step(std::span<const char> from, std::span<char> to) = 0;
  // Whether the bytes so far may be all: every member that began has ended.
  virtual bool is_complete() const = 0;
  virtual std::string_view name() const = 0;  // "gzip", "zstd"
};

// The decompressor for a file that begins so (kKindBytes of it, or all); null if it is neither gzip nor zstd.
std::unique_ptr<Decompressor> make_decompressor(std::string_view beginning);

}  // namespace ropewalk
