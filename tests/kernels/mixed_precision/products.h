// Calls of the products, for the suites of every backend in mixed precision.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "tests/kernels/mixed_precision/suite.h"

namespace ropewalk {

// Each product, set and added.
inline void multiply(int64_t N, int64_t I, int64_t O, Kernels& k, Operands& x) {
  const Tensor in = x.normal("x", {N, I}), w = x.normal("w", {O, I}), dy = x.normal("dy", {N, O});
  k.linear_forward(in, w, x.poison("y", {N, O}), Write::kSet);
  k.linear_forward(in, w, x.normal("more y", {N, O}), Write::kAdd);
  k.linear_backward_input(dy, w, x.poison("dx", {N, I}), Write::kSet);
  k.linear_backward_input(dy, w, x.normal("more dx", {N, I}), Write::kAdd);
  k.linear_backward_weight(dy, in, x.poison("dw", {O, I}, Kind::kAccumulator), Write::kSet);
  k.linear_backward_weight(dy, in, x.normal("more dw", {O, I}, Kind::kAccumulator), Write::kAdd);
}

inline const std::vector<std::string> kProductResults = {"y", "more y", "dx", "more dx", "dw", "more dw"};

}  // namespace ropewalk
