// How far gradients that were computed in some precision are from exact ones.
#pragma once

#include "tests/support/naive_model.h"

namespace ropewalk {

// The error of a tensor is the root mean square of actual - exact, relative to the largest |exact|. Tensors whose exact
// values are all 0 are left out: with a window of one, the gradients of the query and key projections are 0.
struct Errors {
  double mean = 0, worst = 0;  // over the tensors
};
Errors errors_of(const NaiveWeights& actual, const NaiveWeights& exact);

}  // namespace ropewalk
