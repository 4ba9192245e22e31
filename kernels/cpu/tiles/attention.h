// Attention in bf16 on the processor's matrix unit, on the calling thread. Shapes and formulas are those of kernels.h;
// P and dS are rounded to bf16 before the products that use them. `unit` is kTiles or kDotProducts.
#pragma once

#include "kernels/attention_mask.h"
#include "kernels/bfloat16.h"
#include "kernels/cpu/matrix_unit.h"
#include "kernels/cpu/scratch.h"

namespace ropewalk::tiles {

void attention_forward(MatrixUnit unit, const AttentionSizes& s, const AttentionMask& mask, const BFloat16* q,
                       const BFloat16* k, const BFloat16* v, float* o, float* lse, Scratch& scratch);

void attention_backward(MatrixUnit unit, const AttentionSizes& s, const AttentionMask& mask, const BFloat16* q,
                        const BFloat16* k, const BFloat16* v, const BFloat16* d_o, const float* lse, const float* delta,
                        float* dq, float* dk, float* dv, Scratch& scratch);

}  // namespace ropewalk::tiles
