// Matrix products of any size, on the calling thread.
#pragma once

#include "kernels/cpu/scratch.h"
#include "kernels/kernels.h"

namespace ropewalk {

enum class Transpose { kNo, kYes };

// A matrix, or with kYes the transpose of one.
struct Matrix {
  const Tensor& of;  // of rank 2
  Transpose transpose = Transpose::kNo;
};

// c [rows, columns] (+)= a [rows, inner] b [inner, columns]. a and b are both fp32, or both bf16; c is fp32 or has
// their type. Sums are fp32; a bf16 c is rounded once. A row of c has the same bits whatever the number of rows.
void product(Matrix a, Matrix b, Write write, const Tensor& c, Scratch& scratch);

}  // namespace ropewalk
