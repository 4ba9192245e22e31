// Scratch memory of the operations, kept between calls, so that nothing is allocated after the first step.
#pragma once

#include <initializer_list>

#include "kernels/host_buffer.h"

namespace ropewalk {

class Scratch {
 public:
  // Makes room for parts of these sizes, in floats, uninitialised. Invalidates all parts taken before.
  void reserve(std::initializer_list<int64_t> parts) {
    int64_t floats = 0;
    for (int64_t part : parts) floats += padded(part);
    const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
    used_ = 0;
    if (buffer_ && buffer_->bytes() >= bytes) return;
    buffer_.reset();  // frees before allocating the larger one
    buffer_ = allocate_host(bytes);
  }
  // The next part, aligned to 64 bytes.
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
