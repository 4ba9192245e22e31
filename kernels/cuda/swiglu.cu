// SwiGLU: h = silu(gate) * up.
#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/fast_math.h"
#include "kernels/cuda/operand.h"

namespace ROPEWALK_CUDA {
namespace {

__device__ __forceinline__ float sigmoid(float x) { return reciprocal_flushed(1 + exp2_flushed(-kLog2e * x)); }

template <int n>
__global__ void swiglu_forward_kernel(int64_t count, const Bf16* gate, const Bf16* up, Bf16* h) {
  const int64_t i = first_of_thread<n>();
  if (i >= count) return;
  const Pack<Bf16, n> gates = load<n>(gate + i), ups = load<n>(up + i);
  Pack<Bf16, n> out;
  for (int j = 0; j < n; ++j) {
    const float g = widen(gates.values[j]);
    out.values[j] = rounded<Bf16>(g * sigmoid(g) * widen(ups.values[j]));
  }
  store(out, h + i);
}

// dgate may be gate, dup may be up: each pack is loaded before it is stored.
template <int n>
__global__ void swiglu_backward_kernel(int64_t count, const Bf16* dh, const Bf16* gate, const Bf16* up, Bf16* dgate,
                                       Bf16* dup) {
  const int64_t i = first_of_thread<n>();
  if (i >= count) return;
  const Pack<Bf16, n> dhs = load<n>(dh + i), gates = load<n>(gate + i), ups = load<n>(up + i);
  Pack<Bf16, n> dgates, dups;
  for (int j = 0; j < n; ++j) {
    const float d = widen(dhs.values[j]), g = widen(gates.values[j]), u = widen(ups.values[j]), s = sigmoid(g);
    dgates.values[j] = rounded<Bf16>(d * u * s * (1 + g * (1 - s)));
    dups.values[j] = rounded<Bf16>(d * g * s);
  }
  store(dgates, dgate + i);
  store(dups, dup + i);
}

}  // namespace

void CudaBackend::swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) {
  const int64_t count = h.elements();
  with_pack<8>(pack_of(count, sizeof(Bf16), gate.raw(), up.raw(), h.raw()), [&](auto n) {
    launch(runtime_, {blocks_for(count, kThreads * n()), kThreads}, swiglu_forward_kernel<n()>, count, at<Bf16>(gate),
           at<Bf16>(up), at<Bf16>(h));
  });
}

void CudaBackend::swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                                  const Tensor& dup) {
  const int64_t count = gate.elements();
  with_pack<8>(pack_of(count, sizeof(Bf16), dh.raw(), gate.raw(), up.raw(), dgate.raw(), dup.raw()), [&](auto n) {
    launch(runtime_, {blocks_for(count, kThreads * n()), kThreads}, swiglu_backward_kernel<n()>, count, at<Bf16>(dh),
           at<Bf16>(gate), at<Bf16>(up), at<Bf16>(dgate), at<Bf16>(dup));
  });
}

}  // namespace ROPEWALK_CUDA
