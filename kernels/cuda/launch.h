// Launching kernels.
#pragma once

#include "kernels/cuda/runtime.h"
#include "kernels/error.h"

#ifndef ROPEWALK_CUDA_EMULATED
#include "kernels/cuda/device/check.h"
#endif

namespace ROPEWALK_CUDA {

struct Grid {
  int64_t blocks_x;
  int threads;
  int64_t blocks_y = 1;
  int64_t shared_bytes = 0;
};

inline constexpr int kThreads = 256;  // threads in a block, by default
inline int64_t blocks_for(int64_t items, int64_t each = kThreads) { return (items + each - 1) / each; }

// Does nothing if the grid is empty.
template <typename... Parameters, typename... Arguments>
void launch(const Runtime& runtime, const Grid& grid, void (*kernel)(Parameters...), Arguments... arguments) {
  if (grid.blocks_x == 0 || grid.blocks_y == 0) return;
  CHECK(grid.blocks_x < int64_t{1} << 31 && grid.blocks_y < 1 << 16, "a grid of {} x {} blocks", grid.blocks_x,
        grid.blocks_y);
  const unsigned x = static_cast<unsigned>(grid.blocks_x), y = static_cast<unsigned>(grid.blocks_y),
                 threads = static_cast<unsigned>(grid.threads);
  const auto shared = static_cast<size_t>(grid.shared_bytes);
#ifndef ROPEWALK_CUDA_EMULATED
  const Stream stream = runtime.stream();
  if (shared > 48 << 10)  // more than that needs this attribute
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
          "setting the shared memory of a kernel");
  kernel<<<dim3(x, y), threads, shared, stream>>>(arguments...);
  check(cudaGetLastError(), "launching a kernel");
#else
  runtime.stream()->run([=] { simt::run({x, y, 1}, {threads, 1, 1}, shared, [=] { kernel(arguments...); }); });
#endif
}

// The dynamic shared memory of the launch, aligned to 1024 bytes as the 128-byte swizzle requires.
template <typename T>
__device__ T* shared_memory() {
#ifndef ROPEWALK_CUDA_EMULATED
  extern __shared__ __align__(1024) unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
#else
  return reinterpret_cast<T*>(simt::shared_memory());
#endif
}

}  // namespace ROPEWALK_CUDA
