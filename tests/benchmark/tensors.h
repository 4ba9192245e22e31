// Tensors with memory of their own.
#pragma once

#include <memory>

#include "kernels/kernels.h"
#include "kernels/random.h"

namespace ropewalk::benchmark {

struct Filled {
  // Standard normal values, drawn by `seed`; zeros for seed 0. Never zeros where an operation reads: they are faster.
  Filled(Kernels& kernels, Shape shape, uint64_t seed, double scale = 1.0, DType dtype = DType::kF32);

  std::unique_ptr<Buffer> buffer;
  Tensor tensor;
};

// to[n] = from[tokens[n]], rows of whole cache lines, as fast as this machine can: what embedding could be at best.
void copy_rows(const Tensor& tokens, const Tensor& from, const Tensor& to);

}  // namespace ropewalk::benchmark
