#include "kernels/cuda/hopper/tensor_map.h"

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk::cuda_emulated {
namespace {

// Checks what cuTensorMapEncodeTiled requires with the 128-byte swizzle.
TensorMap encoded(const void* base, int element_bytes, std::initializer_list<int64_t> extents,
                  std::initializer_list<int64_t> strides, std::initializer_list<int> box) {
  const size_t n = extents.size();
  CHECK(n >= 1 && n <= simt::kMostDimensions && strides.size() == n - 1 && box.size() == n,
        "a tensor map of {} dimensions", n);
  CHECK(reinterpret_cast<uintptr_t>(base) % 16 == 0, "a tensor map of memory that is not aligned to 16 bytes");
  for (const int64_t extent : extents)
    CHECK(extent >= 1 && extent <= int64_t{1} << 32, "a tensor map with an extent of {}", extent);
  for (const int64_t stride : strides)
    CHECK(stride > 0 && stride * element_bytes % 16 == 0 && stride * element_bytes < int64_t{1} << 40,
          "a tensor map with a stride of {}", stride);
  for (const int rows : box) CHECK(rows >= 1 && rows <= 256, "a tensor map with a box of {}", rows);
  CHECK(*box.begin() * element_bytes == 128, "a tensor map with rows of {}",
        *box.begin());  // stricter: what the kernels' tiles have
  TensorMap map;
  map.base = base;
  map.element_bytes = element_bytes;
  map.dimensions = static_cast<int>(n);
  map.strides[0] = 1;
  std::ranges::copy(extents, map.extents);
  std::ranges::copy(strides, map.strides + 1);
  std::ranges::copy(box, map.box);
  return map;
}

}  // namespace

TensorMap tensor_map(const Bf16* base, std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides,
                     std::initializer_list<int> box) {
  return encoded(base, sizeof(Bf16), extents, strides, box);
}
TensorMap tensor_map(const float* base, std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides,
                     std::initializer_list<int> box) {
  return encoded(base, sizeof(float), extents, strides, box);
}

}  // namespace ropewalk::cuda_emulated
