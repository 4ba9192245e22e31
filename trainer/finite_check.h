// Finding where a number stopped being finite, so that a run that must stop says where to look.
#pragma once

#include <optional>

#include "trainer/model/parameters.h"

namespace ropewalk {

// Throws NumericalError on all ranks, naming the lowest rank that holds a weight that is not finite, and the weight.
// Collective over the world.
void check_weights_finite(int64_t steps, const ParameterValues& weights, Rank rank);

// Throws NumericalError naming the step, the lowest rank that holds a NaN or an infinity, and its tensor: a weight if
// one is not finite already, else the gradient nearest to the loss. Collective over the world; called when the loss or
// the gradient norm is not finite, with the gradients as this rank's backward left them.
[[noreturn]] void throw_not_finite(int64_t step, std::optional<double> loss, double gradient_norm,
                                   const ParameterValues& weights, const ParameterValues& gradients, Rank rank);

}  // namespace ropewalk
