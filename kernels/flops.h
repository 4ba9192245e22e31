// Floating-point operations of the compute-bound kernels, matrix products and attention. A multiply and an add are two
// operations; exponentials, norms and the like do not count.
#pragma once

#include "kernels/kernels.h"

namespace ropewalk {

// x [N, I] times a matrix [I, columns]: 2 * N * I * columns.
FlopCount product_flops(const Tensor& x, int64_t columns);

// (query, key) pairs per head that the mask lets through. Document boundaries are respected only if document_begin is
// in host memory; otherwise the sequence counts as one document.
int64_t visible_pairs(int64_t queries, int64_t keys, const AttentionSpan& span);

// Per visible pair and query head: 4 K forward (scores, outputs), 10 K backward (scores again, dP, dV, dQ, dK).
enum class Pass { kForward, kBackward };
FlopCount attention_flops(Pass pass, const Tensor& q, const Tensor& k, const AttentionSpan& span);

}  // namespace ropewalk
