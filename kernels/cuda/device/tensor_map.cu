#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstring>

#include "kernels/cuda/device/check.h"
#include "kernels/cuda/hopper/tensor_map.h"
#include "kernels/error.h"

namespace ropewalk::cuda {
namespace {

// The driver's cuTensorMapEncodeTiled, looked up through the runtime, so that programs need not link the driver's
// library.
auto encode_function() {
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
          "looking for cuTensorMapEncodeTiled");
    if (found != cudaDriverEntryPointSuccess) throw DeviceError("the NVIDIA driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  return encode;
}

TensorMap encoded(const void* base, CUtensorMapDataType type, size_t element_bytes,
                  std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides,
                  std::initializer_list<int> box) {
  constexpr size_t kMost = 5;
  const size_t n = extents.size();
  CHECK(n <= kMost && strides.size() == n - 1 && box.size() == n, "a tensor map of {} dimensions", n);
  cuuint64_t sizes[kMost], bytes[kMost];
  cuuint32_t boxes[kMost], steps[kMost];
  for (size_t i = 0; i < n; ++i) {
    sizes[i] = static_cast<cuuint64_t>(extents.begin()[i]);
    if (i > 0) bytes[i - 1] = static_cast<cuuint64_t>(strides.begin()[i - 1]) * element_bytes;
    boxes[i] = static_cast<cuuint32_t>(box.begin()[i]);
    steps[i] = 1;
  }
  CUtensorMap encoded;
  const CUresult result =
      encode_function()(&encoded, type, static_cast<cuuint32_t>(n), const_cast<void*>(base), sizes, bytes, boxes, steps,
                        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw DeviceError(fmt::format("a tensor map of extents {} and strides {}, box {}: the driver returned error {}",
                                  fmt::join(extents, " x "), fmt::join(strides, ", "), fmt::join(box, " x "),
                                  static_cast<int>(result)));
  TensorMap map;
  static_assert(sizeof(map) == sizeof(encoded));
  std::memcpy(&map, &encoded, sizeof(map));
  return map;
}

}  // namespace

TensorMap tensor_map(const Bf16* base, std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides,
                     std::initializer_list<int> box) {
  return encoded(base, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, sizeof(Bf16), extents, strides, box);
}
TensorMap tensor_map(const float* base, std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides,
                     std::initializer_list<int> box) {
  return encoded(base, CU_TENSOR_MAP_DATA_TYPE_FLOAT32, sizeof(float), extents, strides, box);
}

}  // namespace ropewalk::cuda
