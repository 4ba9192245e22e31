// Products of matrices of any size, on the calling thread.
#pragma once

#include "kernels/cpu/scratch.h"
#include "kernels/kernels.h"

namespace ropewalk {

enum class Transpose { kNo, kYes };

// A matrix in row-major memory whose rows are `stride` numbers apart.
struct Matrix {
  const float* data;
  int64_t stride;
  Transpose transpose = Transpose::kNo;
};

struct ProductSizes {
  int64_t rows, columns, inner;
};

// c [rows, columns] = a [rows, inner] b [inner, columns], or c += that, after a and b were transposed where they ask
// for it. A row of c has the same bits however many other rows there are.
void product(const ProductSizes& sizes, Matrix a, Matrix b, Write write, float* c, Scratch& scratch);

}  // namespace ropewalk
