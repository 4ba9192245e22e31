// Matrix products of any size, on the calling thread.
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

// c [rows, columns] (+)= a [rows, inner] b [inner, columns]. With Transpose::kYes, `data` holds the transpose of a or
// b. A row of c has the same bits whatever the number of rows.
void product(const ProductSizes& sizes, Matrix a, Matrix b, Write write, float* c, Scratch& scratch);

}  // namespace ropewalk
