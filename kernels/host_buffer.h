// Host memory of the backends that compute on the host.
#pragma once

#include <memory>

#include "kernels/tensor.h"

namespace ropewalk {

// Operations on several large tensors that begin at the same place of a page run at two thirds of their speed: of a
// load and the stores before it a processor compares only the low 12 bits of the addresses at first, and waits where
// they are equal. So each large tensor begins this much further in its page than the one before: nine cache lines,
// seven places.
inline constexpr int64_t kStagger = 576;
inline constexpr int64_t kStaggeredPlaces = 7;

inline constexpr int64_t kAlignment = 64;  // a cache line, and the widest vector

// Aligned to kAlignment bytes. Uninitialised. `nth`, counted by whoever allocates, chooses the place in a page. Throws
// DeviceError saying how much was asked.
std::unique_ptr<Buffer> allocate_host(int64_t bytes, int64_t nth = 0);

}  // namespace ropewalk
