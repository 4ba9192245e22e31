// Launches the Hopper backward.
#include "kernels/cuda/attention/hopper/backward_kernel.h"
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/cuda_backend.h"

namespace ROPEWALK_CUDA {

void CudaBackend::hopper_attention_backward(const AttentionShape& shape, const Tensor& q, const Tensor& k,
                                            const Tensor& v, const Tensor& d_o, const Tensor& lse, const Tensor& delta,
                                            const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  AttentionShape s = shape;
  s.window = std::min(s.window, int64_t{1} << 30);  // the kernel counts positions in 32 bits
  if (s.T == 0 || s.U == 0) return;
  CHECK(s.T * s.H < int64_t{1} << 31, "attention of {} x {} rows on cuda", s.T, s.H);
  with_head_size(s.K, [&](auto K) {
    using Tiles = BackwardTiles<K()>;
    const int64_t R = s.H / s.G, queries = Tiles::kRows / R;
    Turns turns{nullptr};
    if (deterministic_) {
      const int64_t counts = 1 + blocks_for(s.T, queries) * s.G;
      turns.counts = static_cast<int*>(runtime_.workspace(counts * int64_t{sizeof(int)}));
      fill({turns.counts, DType::kF32, device(), {counts}}, 0);
    }
    const auto of_rows = [&](const Tensor& x) {
      return tensor_map(at<Bf16>(x), {K, s.H, s.T}, {K, s.H * K}, {64, static_cast<int>(R), static_cast<int>(queries)});
    };
    const auto of_keys = [&](const Tensor& x) {
      return tensor_map(at<Bf16>(x), {K, s.G, s.U}, {K, s.G * K}, {64, 1, Tiles::kKeys});
    };
    launch(runtime_, {blocks_for(s.U, Tiles::kKeys) * s.G, Tiles::kThreads, 1, int64_t{sizeof(BackwardShared<K()>)}},
           backward_kernel<K()>, s, of_rows(q), of_keys(k), of_keys(v), of_rows(d_o),
           BackwardOperands{at<float>(lse), at<float>(delta), at<float>(dq), at<float>(dk), at<float>(dv), turns,
                            static_cast<int>(s.G)});
  });
}

}  // namespace ROPEWALK_CUDA
