// Products of matrices, by cuBLASLt (device/products.cpp) or by plain loops (emulation/products.cpp). All matrices are
// row-major; a and b are bf16, sums are fp32.
#pragma once

#include <memory>

#include "kernels/cuda/runtime.h"
#include "kernels/dtype.h"
#include "kernels/kernels.h"

namespace ROPEWALK_CUDA {

// c [rows, columns] (+)= a b, over `inner`; no extent is 0. a is [rows, inner], or [inner, rows] where a_transposed; b
// is [inner, columns], or [columns, inner] where b_transposed; c is bf16 or fp32.
struct Product {
  int64_t rows, columns, inner;
  const void *a, *b;
  bool a_transposed, b_transposed;
  void* c;
  DType c_type;
  Write write;
};

class Products {
 public:
  explicit Products(Runtime& runtime);
  ~Products();
  void multiply(const Product& product);

 private:
  struct State;
  Runtime& runtime_;
  std::unique_ptr<State> state_;
};

}  // namespace ROPEWALK_CUDA
