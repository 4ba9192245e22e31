// Tensors that own their memory.
#pragma once

#include <memory>

#include "kernels/kernels.h"
#include "kernels/random.h"

namespace ropewalk::benchmark {

struct Filled {
  // Fills with normal random numbers times `scale`, or with zeros if seed is 0. Use zeros for outputs only: operations
  // run unrealistically fast on zero inputs.
  Filled(Kernels& kernels, Shape shape, uint64_t seed, double scale = 1.0, DType dtype = DType::kF32);

  std::unique_ptr<Buffer> buffer;
  Tensor tensor;
};

// to[n] = from[tokens[n]], for rows of whole cache lines, at the machine's limit: an upper bound on the embedding's
// speed.
void copy_rows(const Tensor& tokens, const Tensor& from, const Tensor& to);

}  // namespace ropewalk::benchmark
