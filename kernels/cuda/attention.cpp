// Attention: calls the backend's form, Hopper or portable.
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/cuda_backend.h"

namespace ROPEWALK_CUDA {

void CudaBackend::attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span,
                                    const Tensor& o, const Tensor& lse) {
  const AttentionShape s = shape_of(q, k, span, {q, k, v, o});
  if (attention_ == AttentionForm::kHopper)
    hopper_attention_forward(s, q, k, v, o, lse);
  else
    portable_attention_forward(s, q, k, v, o, lse);
}

void CudaBackend::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                     const Tensor& lse, const Tensor& delta, const AttentionSpan& span,
                                     const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const AttentionShape s = shape_of(q, k, span, {q, k, v, d_o, dq, dk, dv});
  if (attention_ == AttentionForm::kHopper)
    hopper_attention_backward(s, q, k, v, d_o, lse, delta, dq, dk, dv);
  else
    portable_attention_backward(s, q, k, v, d_o, lse, delta, dq, dk, dv);
}

}  // namespace ROPEWALK_CUDA
