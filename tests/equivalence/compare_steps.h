// Optimizer steps of a mesh beside those of one rank and of the naive model; and the names of tests that do so.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>

#include "tests/equivalence/cases.h"
#include "tests/equivalence/mesh_run.h"

namespace ropewalk {

using MeshAndCase = std::tuple<MeshShape, std::string>;
std::string name_of_mesh_and_case(const testing::TestParamInfo<MeshAndCase>& info);  // "dp2_cp2_tp1_RnopeSwa"

// The naive model with the naive AdamW, a step for each rate.
using ModelOfStep = std::function<ModelConfig(int64_t step)>;
Steps naive_steps(const TrainingConfig& training, const ModelOfStep& model, const SamplesOfStep& samples,
                  NaiveWeights weights, const std::vector<double>& rates);

// The serial steps that a case is compared with. Meshes with as many data ranks and the same heads have the model and
// the samples in common (cases.h), and so these steps, which are computed once.
struct SerialSteps {
  Steps one_rank, naive;
};
class SerialReference {
 public:
  const SerialSteps& of(const Case& c, const ModelOfStep& model, const SamplesOfStep& samples,
                        const NaiveWeights& weights, int64_t steps);

 private:
  std::map<std::tuple<std::string, int64_t, int64_t, int64_t>, SerialSteps> known_;  // name, batch, query and key heads
};

// What the naive model has of a state: no moments.
Steps without_moments(Steps steps);

// `actual` are the steps of `expected` from step `from` on: losses, norms, and the state afterwards, to
// kStepsTolerance.
void expect_same_steps(const Steps& actual, const Steps& expected, const std::string& against, size_t from = 0);

}  // namespace ropewalk
