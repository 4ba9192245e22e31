// Products of bf16 matrices on the processor's matrix unit, on the calling thread.
#pragma once

#include "kernels/cpu/matrix_unit.h"
#include "kernels/cpu/product.h"

namespace ropewalk::tiles {

// As product() of kernels/cpu/product.h, for bf16 matrices a and b. `unit` is kTiles or kDotProducts.
void product(MatrixUnit unit, const Matrix& a, const Matrix& b, Write write, const Tensor& c, Scratch& scratch);

}  // namespace ropewalk::tiles
