// Host memory of the backends that compute on the host.
#pragma once

#include <memory>

#include "kernels/tensor.h"

namespace ropewalk {

// Aligned to 64 bytes, a cache line and the widest vector. Uninitialised. Throws DeviceError saying how much was asked.
std::unique_ptr<Buffer> allocate_host(int64_t bytes);

}  // namespace ropewalk
