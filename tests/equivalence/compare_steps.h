// Compares optimizer steps of a mesh with the steps of one rank and of the naive model. Makes the names of the tests
// that are parameterized by mesh and case.
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

using ModelOfStep = std::function<ModelConfig(int64_t step)>;
// Steps of the naive model with the naive AdamW, one for each learning rate in `rates`.
Steps naive_steps(const TrainingConfig& training, const ModelOfStep& model, const SamplesOfStep& samples,
                  NaiveWeights weights, const std::vector<double>& rates);

// The serial steps with which a case is compared. They are computed once for all meshes with the same number of data
// ranks and the same heads, because these have the same model and samples (cases.h).
struct SerialSteps {
  Steps one_rank, naive;
};
class SerialReference {
 public:
  const SerialSteps& of(const Case& c, const ModelOfStep& model, const SamplesOfStep& samples,
                        const NaiveWeights& weights, int64_t steps);

 private:
  std::map<std::tuple<std::string, int64_t, int64_t, int64_t>, SerialSteps>
      known_;  // name, batch, query heads, KV heads
};

// Drops AdamW's moments, which the naive model's state does not have.
Steps without_moments(Steps steps);

// Expects that `actual` equals the steps of `expected` from step `from` on, to kStepsTolerance: losses, norms, and the
// state after the last step. `against` names `expected` in failure messages.
void expect_same_steps(const Steps& actual, const Steps& expected, const std::string& against, size_t from = 0);

}  // namespace ropewalk
