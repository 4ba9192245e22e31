// Initial weights: normal(0, ModelConfig::initializer_range) for matrices, 1 for norms. Each weight is a function of
// the seed, the parameter's name and the element's index in the whole tensor. So every mesh starts from the same
// weights, and a rank draws only the part that it holds.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernels.h"
#include "trainer/model/parameters.h"
#include "trainer/model/state_tensor.h"

namespace ropewalk {

// Fills `weights`, boxes of parameters of the table, on up to 16 threads. Values are drawn in fp64, rounded to the
// compute type, and stored in the element type of the StateTensor. So master weights start equal to the weights that
// the model uses.
void draw_initial_weights(std::span<const StateTensor> weights, const ParameterTable& table, const ModelConfig& model,
                          uint64_t seed, Kernels& kernels);

}  // namespace ropewalk
