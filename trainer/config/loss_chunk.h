// Rows of logits that are held at a time, where the configuration does not say.
#pragma once

#include <algorithm>

#include "kernels/make_kernels.h"

namespace ropewalk {

// Every chunk reads and writes the fp32 gradient of the whole embedding once, which on a GPU takes as long as the
// chunk's product with a thousand rows does: so there it is as many rows, up to 8192, as make 2 GiB of logits of the
// whole vocabulary. Neither the mesh nor the size of the device changes it, as other chunks give other bits.
inline int64_t usual_loss_chunk(BackendKind backend, int64_t vocabulary) {
  constexpr int64_t kStep = 1024, kMost = 8192, kMostBytes = int64_t{2} << 30;
  if (backend != BackendKind::kCuda) return kStep;
  const int64_t rows = kMostBytes / size_of(compute_type(backend)) / std::max<int64_t>(vocabulary, 1);
  return std::clamp(rows / kStep * kStep, kStep, kMost);
}

}  // namespace ropewalk
