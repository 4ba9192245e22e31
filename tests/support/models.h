// Small models for tests, and random weights and samples as functions of a seed.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/support/naive_model.h"
#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

LayerKind sliding_rope(int64_t window, double theta = 10000);
LayerKind full_nope();
LayerKind full_rope(double theta = 10000);
LayerKind with_qk_norm(LayerKind kind);

// A model of a few thousand weights: D 16, F 24, four query heads and two key heads of size 4, V 37, logit_scale 0.7.
// Its initial weights are large (initializer_range 0.3), so that attention is far from uniform and gradients are far
// above rounding errors.
ModelConfig small_model(std::vector<LayerKind> layers);

// Random weights: matrices normal(0, initializer_range), norms 1 + normal(0, 0.2).
NaiveWeights random_weights(const ModelConfig& model, uint64_t seed);

// The same weights, each rounded to bf16.
NaiveWeights rounded_to_bf16(NaiveWeights weights);

// A sequence of `length` random tokens. Documents begin at 0 and at each of `document_begins` (ascending).
Sample random_sample(int64_t length, int64_t vocabulary, const std::vector<int64_t>& document_begins, uint64_t seed);

}  // namespace ropewalk
