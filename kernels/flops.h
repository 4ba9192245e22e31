// Floating-point operations of the kernels that are bound by arithmetic. A multiply and an add are two operations;
// exponentials, norms and the like do not count.
#pragma once

#include "kernels/kernels.h"

namespace ropewalk {

// Of x [N, I] times a matrix with `columns` columns: 2 N I columns.
FlopCount product_flops(const Tensor& x, int64_t columns);

// (query, key) pairs of a head that the mask lets through. Documents count where they are in host memory.
int64_t visible_pairs(int64_t queries, int64_t keys, const AttentionSpan& span);

// 4 K for each visible pair and query head (scores, outputs), and 10 K backward (scores again, dP, dV, dQ, dK).
enum class Pass { kForward, kBackward };
FlopCount attention_flops(Pass pass, const Tensor& q, const Tensor& k, const AttentionSpan& span);

}  // namespace ropewalk
