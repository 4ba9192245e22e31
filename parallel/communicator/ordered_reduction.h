// Sums and maxima over ranks, element by element, in the order of the ranks: the same bits on every transport.
#pragma once

#include <span>

#include "kernels/dtype.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// out[i] = inputs[0][i] + inputs[1][i] + ... from left to right, or their maximum, in which a NaN wins. bf16
// accumulates in fp32 and is rounded once; i32 wraps. `out` may be one of the inputs.
void reduce_in_rank_order(std::span<const void* const> inputs, int64_t elements, DType dtype, Reduction reduction,
                          void* out);

}  // namespace ropewalk
