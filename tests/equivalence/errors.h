// How far gradients in some precision are from exact ones.
#pragma once

#include "tests/support/naive_model.h"

namespace ropewalk {

// Of each tensor, the root mean square of actual - exact, relative to the largest |exact|. Tensors that are exactly 0
// do not count: queries and keys under a window of one have nothing to be relative to.
struct Errors {
  double mean = 0, worst = 0;  // over the tensors
};
Errors errors_of(const NaiveWeights& actual, const NaiveWeights& exact);

}  // namespace ropewalk
