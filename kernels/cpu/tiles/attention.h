// Attention in bf16 on the processor's matrix unit, on the calling thread. Shapes and formulas are those of kernels.h;
// P and dS are rounded to bf16 before the products that use them. `unit` is kTiles or kDotProducts.
#pragma once

#include "kernels/attention_mask.h"
#include "kernels/cpu/matrix_unit.h"
#include "kernels/cpu/scratch.h"

namespace ropewalk::tiles {

void attention_forward(MatrixUnit unit, const AttentionSizes& s, const AttentionMask& mask, const Tensor& q,
                       const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse, Scratch& scratch);

void attention_backward(MatrixUnit unit, const AttentionSizes& s, const AttentionMask& mask, const Tensor& q,
                        const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv, Scratch& scratch);

}  // namespace ropewalk::tiles
