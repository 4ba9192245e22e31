// Initial weights: matrices are normal(0, ModelConfig::initializer_range), norms one. A weight is a function of the
// seed, the parameter's name and the element's place in the whole tensor, so every mesh starts from the same ones, and
// a rank draws only the part that it holds.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernels.h"
#include "trainer/model/parameters.h"
#include "trainer/model/state_tensor.h"

namespace ropewalk {

// Fills `weights`, boxes of parameters of the table, on up to 16 threads. Values are drawn in fp64 and rounded to fp32,
// unless the boxes are fp64, and then to the compute type: master weights begin at what the model computes with.
void draw_initial_weights(std::span<const StateTensor> weights, const ParameterTable& table, const ModelConfig& model,
                          uint64_t seed, Kernels& kernels);

}  // namespace ropewalk
