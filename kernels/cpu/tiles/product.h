// Products of bf16 matrices on the processor's matrix unit, on the calling thread.
#pragma once

#include "kernels/bfloat16.h"
#include "kernels/cpu/matrix_unit.h"
#include "kernels/cpu/product.h"

namespace ropewalk::tiles {

// A matrix in row-major memory whose rows are `stride` elements apart.
struct Operand {
  const BFloat16* data;
  int64_t stride;
  Transpose transpose = Transpose::kNo;
};

// c [rows, columns] (+)= a [rows, inner] b [inner, columns]. With Transpose::kYes, `data` holds the transpose of a or
// b. Sums are fp32; a bf16 result is rounded once. A row of c has the same bits whatever the number of rows. `unit` is
// kTiles or kDotProducts.
void product(MatrixUnit unit, const ProductSizes& sizes, Operand a, Operand b, Write write, BFloat16* c,
             Scratch& scratch);
void product(MatrixUnit unit, const ProductSizes& sizes, Operand a, Operand b, Write write, float* c, Scratch& scratch);

}  // namespace ropewalk::tiles
