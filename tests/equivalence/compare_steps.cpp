#include "tests/equivalence/compare_steps.h"

namespace ropewalk {

std::string name_of_mesh_and_case(const testing::TestParamInfo<MeshAndCase>& info) {
  return text_of(std::get<0>(info.param)) + "_" + std::get<1>(info.param);
}

Steps naive_steps(const TrainingConfig& training, const ModelOfStep& model, const SamplesOfStep& samples,
                  NaiveWeights weights, const std::vector<double>& rates) {
  NaiveAdamW optimizer(training);
  Steps steps;
  for (size_t i = 0; i < rates.size(); ++i) {
    const auto step = static_cast<int64_t>(i);
    const NaiveResult result = naive_gradients(model(step), weights, samples(step));
    steps.losses.push_back(result.loss);
    steps.gradient_norms.push_back(optimizer.update(weights, result.gradients, rates[i]));
  }
  steps.state = std::move(weights);
  return steps;
}

const SerialSteps& SerialReference::of(const Case& c, const ModelOfStep& model, const SamplesOfStep& samples,
                                       const NaiveWeights& weights, int64_t steps) {
  const Config one = on_one_rank(c.config);
  const auto [entry, is_new] =
      known_.try_emplace({c.name, one.training.stages[0].batch, one.model.query_heads, one.model.key_heads});
  SerialSteps& serial = entry->second;
  if (is_new) {
    serial.one_rank = steps_on_mesh(one, weights, samples, 0, steps);
    serial.naive = naive_steps(one.training, model, samples, weights, serial.one_rank.rates);
  }
  return serial;
}

Steps without_moments(Steps steps) {
  std::erase_if(steps.state, [](const auto& entry) { return entry.first.starts_with("optimizer."); });
  return steps;
}

void expect_same_steps(const Steps& actual, const Steps& expected, const std::string& against, size_t from) {
  ASSERT_EQ(actual.losses.size() + from, expected.losses.size()) << against;
  for (size_t i = from; i < expected.losses.size(); ++i) {
    const double loss = expected.losses[i], norm = expected.gradient_norms[i];
    EXPECT_NEAR(actual.losses[i - from], loss, kStepsTolerance * loss) << against << ", step " << i;
    EXPECT_NEAR(actual.gradient_norms[i - from], norm, kStepsTolerance * norm) << against << ", step " << i;
  }
  const Difference worst = difference(actual.state, expected.state);
  EXPECT_LE(worst.relative, kStepsTolerance) << against << ": " << worst.where;
}

}  // namespace ropewalk
