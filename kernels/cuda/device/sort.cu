#include <cub/device/device_radix_sort.cuh>

#include "kernels/cuda/block.h"
#include "kernels/cuda/device/check.h"
#include "kernels/cuda/sort.h"

namespace ropewalk::cuda {
namespace {

__global__ void count_kernel(int64_t N, int32_t* rows) {
  const int64_t i = first_of_thread<1>();
  if (i < N) rows[i] = static_cast<int32_t>(i);
}

int64_t aligned(size_t bytes) { return (static_cast<int64_t>(bytes) + 255) / 256 * 256; }

}  // namespace

SortedTokens sort_tokens(Runtime& runtime, int64_t N, const int32_t* tokens) {
  size_t scratch = 0;
  const auto sort = [&](void* at, int32_t* sorted, const int32_t* rows, int32_t* sorted_rows) {
    check(cub::DeviceRadixSort::SortPairs(at, scratch, tokens, sorted, rows, sorted_rows, N, 0, 32, runtime.stream()),
          "sorting tokens");
  };
  sort(nullptr, nullptr, nullptr, nullptr);  // only computes the size of its scratch
  const int64_t part = aligned(static_cast<size_t>(N) * sizeof(int32_t));
  auto* memory = static_cast<unsigned char*>(runtime.workspace(3 * part + aligned(scratch)));
  auto *sorted = reinterpret_cast<int32_t*>(memory), *sorted_rows = reinterpret_cast<int32_t*>(memory + part),
       *rows = reinterpret_cast<int32_t*>(memory + 2 * part);
  launch(runtime, {blocks_for(N), kThreads}, count_kernel, N, rows);
  sort(memory + 3 * part, sorted, rows, sorted_rows);
  return {sorted, sorted_rows};
}

}  // namespace ropewalk::cuda
