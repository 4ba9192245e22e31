// Finds the tensor in which a NaN or an infinity began, so that a run that must stop says where to look.
#pragma once

#include <optional>
#include <string>

#include "trainer/model/parameters.h"

namespace ropewalk {

// "rank R: the weight NAME, element i of its part here", of the lowest rank that holds a weight that is not finite;
// empty if all weights are finite. Collective over the world.
std::string first_weight_not_finite(const ParameterValues& weights, Rank rank);

// If a weight is not finite, throws NumericalError on all ranks, naming the lowest rank that holds such a weight, and
// the weight. steps: steps done, for the message. Collective over the world.
void check_weights_finite(int64_t steps, const ParameterValues& weights, Rank rank);

// Throws NumericalError naming the step and where a NaN or an infinity began: the lowest rank with a weight that is not
// finite, and that weight; if all weights are finite, the lowest rank with a gradient that is not, and the first such
// gradient in the order of the backward; if those are finite too, the sum over ranks, which overflowed. Call it if the
// loss or the gradient norm is not finite, with the local gradients that this rank's backward computed. Collective over
// the world.
[[noreturn]] void throw_not_finite(int64_t step, std::optional<double> loss, double gradient_norm,
                                   const ParameterValues& weights, const ParameterValues& gradients, Rank rank);

}  // namespace ropewalk
