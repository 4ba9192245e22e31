// Host memory for the backends that compute on the host.
#pragma once

#include <memory>

#include "kernels/tensor.h"

namespace ropewalk {

// Operations on several large tensors that all begin at the same offset in their pages run at two thirds of their speed
// (4K aliasing): a CPU first compares a load with earlier stores by the low 12 address bits only, and waits if these
// are equal. So each large tensor begins kStagger bytes (nine cache lines) further in its page than the one before; a
// page has room for kStaggeredPlaces such offsets.
inline constexpr int64_t kStagger = 576;
inline constexpr int64_t kStaggeredPlaces = 7;

inline constexpr int64_t kAlignment = 64;  // a cache line, and the widest vector

// Allocates uninitialised memory, aligned to kAlignment bytes. `nth` is the caller's count of allocations and selects
// the offset in the page. Throws DeviceError, with the size in its message, if memory is short.
std::unique_ptr<Buffer> allocate_host(int64_t bytes, int64_t nth = 0);

}  // namespace ropewalk
