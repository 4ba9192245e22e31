// The default of training.loss_chunk, the rows of logits that are held at a time.
#pragma once

#include <algorithm>

#include "kernels/make_kernels.h"

namespace ropewalk {

// Every chunk reads and writes the whole fp32 gradient of the embedding once. On a GPU this takes as long as the matrix
// product of a chunk of 1,000 rows. So CUDA gets larger chunks: the largest multiple of 1024 rows whose logits over the
// whole vocabulary fit in 2 GiB, at least 1024 and at most 8192. The size does not depend on the mesh or on the
// device's memory, because chunks of another size are summed in another order and give other bits.
inline int64_t usual_loss_chunk(BackendKind backend, int64_t vocabulary) {
  constexpr int64_t kStep = 1024, kMost = 8192, kMostBytes = int64_t{2} << 30;
  if (backend != BackendKind::kCuda) return kStep;
  const int64_t rows = kMostBytes / size_of(compute_type(backend)) / std::max<int64_t>(vocabulary, 1);
  return std::clamp(rows / kStep * kStep, kStep, kMost);
}

}  // namespace ropewalk
