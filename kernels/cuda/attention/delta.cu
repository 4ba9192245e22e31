// delta, which both forms of attention's backward need first.
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"

namespace ROPEWALK_CUDA {
namespace {

// delta [rows] = rowsum(d_o * o) over K; K / 8 threads of a warp share a row
template <int K>
__global__ void delta_kernel(int64_t rows, const Bf16* d_o, const Bf16* o, float* delta) {
  const int64_t i = first_of_thread<8>(), row = i / K;
  float sum = 0;
  if (row < rows) {
    const Pack<Bf16, 8> left = load<8>(d_o + i), right = load<8>(o + i);
    for (int j = 0; j < 8; ++j) sum += widen(left.values[j]) * widen(right.values[j]);
  }
  sum = over_warp<K / 8>(sum, Plus());
  if (row < rows && i % K == 0) delta[row] = sum;
}

}  // namespace

void CudaBackend::attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) {
  check_heads(d_o.extent(2), {d_o, o});
  const int64_t rows = delta.elements();
  with_head_size(d_o.extent(2), [&](auto K) {
    launch(runtime_, {blocks_for(rows * K(), kThreads * 8), kThreads}, delta_kernel<K()>, rows, at<Bf16>(d_o),
           at<Bf16>(o), at<float>(delta));
  });
}

}  // namespace ROPEWALK_CUDA
