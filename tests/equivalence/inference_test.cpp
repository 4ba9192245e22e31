// Inference on every mesh of up to eight ranks: losses by position, and logits of the next token.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/equivalence/cases.h"
#include "tests/equivalence/compare_steps.h"
#include "tests/support/models.h"
#include "trainer/evaluation/evaluate.h"

namespace ropewalk {
namespace {

class InferenceOnEveryMesh : public testing::TestWithParam<MeshAndCase> {
 protected:
  const Case case_ = make_case(std::get<1>(GetParam()), std::get<0>(GetParam()));
  const NaiveWeights weights_ = random_weights(case_.config.model, 51);
};

// The sum of the naive losses of targets at positions [begin, end), and their number.
std::pair<double, int64_t> naive_loss_between(const Case& c, const NaiveWeights& weights, int64_t begin, int64_t end) {
  std::vector<Sample> samples = c.samples;
  int64_t count = 0;
  for (Sample& sample : samples) {
    for (int64_t i = 0; i < static_cast<int64_t>(sample.targets.size()); ++i) {
      int32_t& target = sample.targets[static_cast<size_t>(i)];
      if (i < begin || i >= end) target = -1;
      count += target >= 0;
    }
  }
  if (count == 0) return {0, 0};
  return {naive_loss(c.config.model, weights, samples) * static_cast<double>(count), count};
}

TEST_P(InferenceOnEveryMesh, EvaluatesTheNaiveLossesByPosition) {
  const int64_t length = case_.config.training.stages[0].sequence_length, ranges = length % 2 == 0 ? 2 : 3;
  ASSERT_EQ(length % ranges, 0);
  std::vector<std::pair<double, int64_t>> expected;
  for (int64_t range = 0; range < ranges; ++range) {
    expected.push_back(naive_loss_between(case_, weights_, range * length / ranges, (range + 1) * length / ranges));
  }
  on_mesh(case_.config, [&](RankRun& run) {
    set_state(run, weights_);
    const LossByPosition losses = evaluate(run.trainer.predictor(), run.share_of(case_.samples),
                                           {case_.config.training.stages[0].micro_batch, ranges}, run.mesh);
    ASSERT_EQ(losses.loss.size(), expected.size());
    for (size_t range = 0; range < expected.size(); ++range) {
      const auto [loss, count] = expected[range];
      EXPECT_EQ(losses.targets[range], count) << range;
      EXPECT_NEAR(losses.loss[range], loss, kTolerance * loss) << range;
    }
  });
}

// log softmax(logits)[t] is minus the naive loss of target t.
TEST_P(InferenceOnEveryMesh, GivesTheNaiveLogitsOfTheNextToken) {
  const std::vector<size_t> lengths = {1, 2, 11};
  const Sample text = random_sample(11, case_.config.model.vocabulary, {}, 52);
  const auto prompt = [&](size_t length) { return std::vector(text.tokens.begin(), text.tokens.begin() + length); };
  std::vector<std::vector<std::vector<double>>> logits(lengths.size());  // by length, by rank
  for (auto& by_rank : logits) by_rank.resize(static_cast<size_t>(case_.config.parallel.mesh.size()));
  on_mesh(case_.config, [&](RankRun& run) {
    set_state(run, weights_);
    for (size_t i = 0; i < lengths.size(); ++i) {
      logits[i][static_cast<size_t>(run.mesh.world().rank())] =
          run.trainer.predictor().next_token_logits(prompt(lengths[i]));
    }
  });
  for (size_t i = 0; i < lengths.size(); ++i) {
    const std::vector<double>& first = logits[i][0];
    for (const std::vector<double>& other : logits[i]) EXPECT_EQ(other, first) << "ranks disagree";
    ASSERT_EQ(first.size(), static_cast<size_t>(case_.config.model.vocabulary));
    double sum = 0;
    for (double logit : first) sum += std::exp(logit);
    Sample sample{prompt(lengths[i]), std::vector<int32_t>(lengths[i], -1), std::vector<int32_t>(lengths[i], 0)};
    for (const size_t token : {size_t{0}, size_t{17}, first.size() - 1}) {
      sample.targets.back() = static_cast<int32_t>(token);
      const double loss = naive_loss(case_.config.model, weights_, {sample});
      EXPECT_NEAR(std::log(sum) - first[token], loss, kTolerance * loss) << token;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(UpToEightRanks, InferenceOnEveryMesh,
                         testing::Combine(testing::ValuesIn(meshes_up_to(8)),
                                          testing::Values("RnopeSwa", "QkNormWholeTokens", "MaskedTargets")),
                         name_of_mesh_and_case);

}  // namespace
}  // namespace ropewalk
