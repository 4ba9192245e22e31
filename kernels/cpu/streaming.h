// Decides which outputs are written with streaming stores, which bypass the caches. A store through the caches first
// reads the line that it overwrites, which costs as much as another input. A streaming store does not, but the next
// reader must fetch the output from memory. So only outputs too large to stay in the caches are streamed, and never in
// place, where the lines are cached already.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "kernels/tensor.h"

namespace ropewalk {

inline constexpr int64_t kStreamedBytes = 32 << 20;  // about one core's part of the L3 cache of current servers

// Streaming stores need vectors aligned to their size, so every row must begin on a 64-byte boundary.
inline bool worth_streaming(const Tensor& out, std::initializer_list<const Tensor*> inputs) {
  if (out.bytes() <= kStreamedBytes) return false;
  const auto in_place = [&](const Tensor* input) { return input->raw() == out.raw(); };
  const int64_t row = out.extent(out.shape().rank() - 1) * size_of(out.dtype());
  return row % 64 == 0 && reinterpret_cast<uintptr_t>(out.raw()) % 64 == 0 &&
         std::none_of(inputs.begin(), inputs.end(), in_place);
}

}  // namespace ropewalk
