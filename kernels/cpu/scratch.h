// Work space of an operation, kept between calls: after the first step nothing is allocated any more.
#pragma once

#include <initializer_list>

#include "kernels/host_buffer.h"

namespace ropewalk {

class Scratch {
 public:
  // Room for parts of these many numbers, uninitialised; what was handed out before is void.
  void reserve(std::initializer_list<int64_t> parts) {
    int64_t floats = 0;
    for (int64_t part : parts) floats += padded(part);
    const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
    used_ = 0;
    if (buffer_ && buffer_->bytes() >= bytes) return;
    buffer_.reset();  // before the larger one is taken
    buffer_ = allocate_host(bytes);
  }
  // The next part, on a boundary of 64 bytes.
  float* take(int64_t floats) {
    float* part = static_cast<float*>(buffer_->data()) + used_;
    used_ += padded(floats);
    CHECK(used_ * static_cast<int64_t>(sizeof(float)) <= buffer_->bytes(), "scratch of {} bytes is too small",
          buffer_->bytes());
    return part;
  }

 private:
  static int64_t padded(int64_t floats) { return (floats + 15) / 16 * 16; }

  std::unique_ptr<Buffer> buffer_;
  int64_t used_ = 0;
};

}  // namespace ropewalk
