// Conversion between the floating types that files of weights have: fp64, fp32, bf16, fp16.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace ropewalk {

// Converts `count` elements, rounding to nearest, ties to even; fp64 becomes bf16 or fp16 by way of fp32. Returns how
// many finite elements became infinite. The pointers need not be aligned; the memory must not overlap.
int64_t convert_elements(const uint8_t* from, DType from_type, uint8_t* to, DType to_type, int64_t count);

}  // namespace ropewalk
