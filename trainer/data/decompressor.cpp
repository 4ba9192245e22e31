#include "trainer/data/decompressor.h"

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <limits>

#include "kernels/error.h"

namespace ropewalk {
namespace {

using namespace std::string_view_literals;

class GzipDecompressor : public Decompressor {
 public:
  GzipDecompressor() {
    constexpr int kLargestWindow = 15, kGzipOnly = 16;  // added: zlib's own format is not accepted
    CHECK(inflateInit2(&stream_, kLargestWindow + kGzipOnly) == Z_OK, "zlib cannot start: {}", message());
  }
  ~GzipDecompressor() override { inflateEnd(&stream_); }

  Step step(std::span<const char> from, std::span<char> to) override {
    Step total;
    while (total.produced == 0 && total.consumed < from.size()) {
      if (complete_) inflateReset(&stream_);
      complete_ = false;
      const Step step = inflate_some(from.subspan(total.consumed), to);
      total = {total.consumed + step.consumed, step.produced};
    }
    if (from.empty() && !complete_) total = inflate_some(from, to);
    return total;
  }
  bool is_complete() const override { return complete_; }
  std::string_view name() const override { return "gzip"; }

 private:
  Step inflate_some(std::span<const char> from, std::span<char> to) {
    constexpr size_t kMost = std::numeric_limits<uInt>::max();
    const auto in = static_cast<uInt>(std::min(from.size(), kMost)),
               out = static_cast<uInt>(std::min(to.size(), kMost));
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(from.data()));
    stream_.avail_in = in;
    stream_.next_out = reinterpret_cast<Bytef*>(to.data());
    stream_.avail_out = out;
    const int result = inflate(&stream_, Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) throw DataError(message());
    complete_ = result == Z_STREAM_END;
    return {in - stream_.avail_in, out - stream_.avail_out};
  }
  std::string message() const { return stream_.msg ? stream_.msg : "no valid gzip"; }

  z_stream stream_{};
  bool complete_ = true;
};

class ZstdDecompressor : public Decompressor {
 public:
  ZstdDecompressor() { CHECK(context_, "zstd cannot allocate its context"); }

  Step step(std::span<const char> from, std::span<char> to) override {
    if (from.empty() && complete_) return {};
    ZSTD_inBuffer in = {from.data(), from.size(), 0};
    ZSTD_outBuffer out = {to.data(), to.size(), 0};
    do {
      const size_t result = ZSTD_decompressStream(context_.get(), &out, &in);
      if (ZSTD_isError(result)) throw DataError(message(result));
      complete_ = result == 0;
    } while (out.pos == 0 && in.pos < in.size);
    return {in.pos, out.pos};
  }
  bool is_complete() const override { return complete_; }
  std::string_view name() const override { return "zstd"; }

 private:
  static std::string message(size_t result) {
    if (ZSTD_getErrorCode(result) == ZSTD_error_frameParameter_windowTooLarge)
      return "its window is larger than 128 MiB (zstd --long=28 or more): compress it with a smaller one, or pipe it "
             "in "
             "by zstdcat --long=31";
    return ZSTD_getErrorName(result);
  }

  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context_{ZSTD_createDCtx(), &ZSTD_freeDCtx};
  bool complete_ = true;
};

bool is_zstd(std::string_view beginning) {
  const auto is_skippable = [&] {  // 0x184D2A50 to 0x184D2A5F: a frame without contents, as pzstd writes first
    return beginning.size() >= 4 && (beginning[0] & 0xf0) == 0x50 && beginning.substr(1, 3) == "\x2a\x4d\x18"sv;
  };
  return beginning.starts_with("\x28\xb5\x2f\xfd"sv) || is_skippable();
}

}  // namespace

std::unique_ptr<Decompressor> make_decompressor(std::string_view beginning) {
  if (beginning.starts_with("\x1f\x8b\x08"sv)) return std::make_unique<GzipDecompressor>();
  if (is_zstd(beginning)) return std::make_unique<ZstdDecompressor>();
  return nullptr;
}

}  // namespace ropewalk
