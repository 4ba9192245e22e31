// Tests the naive model itself: its derivatives against complex steps through its own forward, its forward against
// cases that can be worked out by hand, its AdamW against steps by hand.
#include "tests/support/naive_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/support/models.h"

namespace ropewalk {
namespace {

using Complex = std::complex<double>;

NaiveTensors<Complex> to_complex(const NaiveWeights& weights) {
  NaiveTensors<Complex> out;
  for (const auto& [name, values] : weights) out[name].assign(values.begin(), values.end());
  return out;
}

double largest(const std::vector<double>& values) {
  double out = 0;
  for (double value : values) out = std::max(out, std::abs(value));
  return out;
}

// Im L(w + i h e) / h = dL/de with a relative error of h^2 (1e-40 for h = 1e-20) and rounding errors: the sums of a
// forward have less than 1e4 terms of mixed sign, so 1e4 eps ~ 2e-12 of the largest derivative bounds these.
TEST(NaiveModel, GradientsAreTheComplexStepDerivatives) {
  ModelConfig model = small_model({with_qk_norm(sliding_rope(3)), full_nope(), full_rope(100)});
  const NaiveWeights weights = random_weights(model, 1);
  const std::vector<Sample> samples = {random_sample(9, model.vocabulary, {4}, 2),
                                       random_sample(7, model.vocabulary, {}, 3)};
  const NaiveResult result = naive_gradients(model, weights, samples);
  NaiveTensors<Complex> shifted = to_complex(weights);
  EXPECT_NEAR(result.loss, naive_loss(model, shifted, samples).real(), 1e-14 * result.loss);

  constexpr double kStep = 1e-20, kTolerance = 2e-12;
  std::mt19937_64 random(4);
  for (const auto& [name, gradient] : result.gradients) {
    const double scale = largest(gradient);
    ASSERT_GT(scale, 1e-6) << name << " has no gradient worth comparing";
    for (int trial = 0; trial < 12; ++trial) {
      const size_t i = random() % gradient.size();
      shifted[name][i] += Complex(0, kStep);
      const double derivative = naive_loss(model, shifted, samples).imag() / kStep;
      EXPECT_NEAR(gradient[i], derivative, kTolerance * scale) << name << "[" << i << "]";
      shifted[name][i] = weights.at(name)[i];
    }
  }
}

// With an embedding of zeros all logits are 0 and the loss is log V.
TEST(NaiveModel, LossOfEqualLogitsIsTheLogOfTheVocabulary) {
  const ModelConfig model = small_model({full_nope()});
  NaiveWeights weights = random_weights(model, 1);
  for (double& w : weights.at("model.embed_tokens.weight")) w = 0;
  EXPECT_NEAR(naive_loss(model, weights, {random_sample(5, model.vocabulary, {2}, 1)}), std::log(37.0), 1e-14);
}

// The only target is at `query`. Returns how much its loss changes if the token at `key` is replaced: with one layer,
// not at all unless the query sees the key. (The weights, and so the tied embedding in the logits, do not change.)
double influence(const LayerKind& kind, int64_t query, int64_t key, const std::vector<int64_t>& documents) {
  const ModelConfig model = small_model({kind});
  const NaiveWeights weights = random_weights(model, 5);
  Sample sample = random_sample(8, model.vocabulary, documents, 6);
  for (size_t i = 0; i < sample.targets.size(); ++i) {
    if (static_cast<int64_t>(i) != query) sample.targets[i] = -1;
  }
  const double before = naive_loss(model, weights, {sample});
  int32_t& token = sample.tokens[static_cast<size_t>(key)];
  token = (token + 1) % static_cast<int32_t>(model.vocabulary);
  return std::abs(naive_loss(model, weights, {sample}) - before);
}

TEST(NaiveModel, AQuerySeesExactlyTheKeysOfTheRule) {
  const std::vector<int64_t> documents = {3};
  for (int64_t query = 0; query < 8; ++query) {
    if (query == 2) continue;  // the end of the first document: no target
    for (int64_t key = 0; key < 8; ++key) {
      const bool together = (query < 3) == (key < 3);
      const bool full = key <= query && together, sliding = full && query - key < 2;
      EXPECT_EQ(influence(full_nope(), query, key, documents) > 0, full) << query << " " << key;
      EXPECT_EQ(influence(sliding_rope(2), query, key, documents) > 0, sliding) << query << " " << key;
    }
  }
}

// One layer without positions does not distinguish the order of the earlier tokens; with rotation it does. Rotation
// depends only on distances, so a document has the same losses wherever it begins.
TEST(NaiveModel, RotationTellsOrderByDistanceOnly) {
  for (const LayerKind& kind : {full_nope(), full_rope(100)}) {
    const ModelConfig model = small_model({kind});
    const NaiveWeights weights = random_weights(model, 7);
    Sample sample = random_sample(6, model.vocabulary, {}, 8);
    for (size_t i = 0; i < 5; ++i) sample.targets[i] = -1;
    const double before = naive_loss(model, weights, {sample});
    std::swap(sample.tokens[1], sample.tokens[3]);
    const double swapped = naive_loss(model, weights, {sample});
    if (kind.position == LayerKind::Position::kNone) {
      EXPECT_NEAR(before, swapped, 1e-14);
    } else {
      EXPECT_GT(std::abs(before - swapped), 1e-4);
    }
    Sample moved = random_sample(10, model.vocabulary, {4}, 9);  // the same six tokens as a second document
    for (int32_t& target : moved.targets) target = -1;
    std::copy(sample.tokens.begin(), sample.tokens.end(), moved.tokens.begin() + 4);
    moved.targets[9] = sample.targets[5];
    EXPECT_NEAR(naive_loss(model, weights, {moved}), swapped, 1e-13);
  }
}

// Rotation by hand: K = 4, theta = 4, and q = k = (0, 0, 1, 0) everywhere, half of the second pair (2, 3), whose angle
// is 4^(-2/4) = 1/2 a position. So the score at distance d is cos(d / 2) / sqrt(4).
TEST(NaiveModel, InterleavedPairsTurnTogether) {
  ModelConfig model = small_model({full_rope(4)});
  model.width = model.head_size = 4;
  model.hidden = model.query_heads = model.key_heads = 1;
  model.vocabulary = 2;
  model.logit_scale = 1;
  model.norm_epsilon = 1e-30;  // the two embeddings have mean 0 and variance 1: the first norm leaves them as they are
  const double r = std::sqrt(2.0);
  NaiveWeights weights = random_weights(model, 1);
  weights["model.embed_tokens.weight"] = {r, -r, 0, 0, 0, 0, r, -r};
  weights["model.norm.weight"] = weights["model.layers.0.input_layernorm.weight"] = {1, 1, 1, 1};
  const auto set = [&](const std::string& name, std::vector<double> values) {
    weights.at("model.layers.0." + name + "_proj.weight") = std::move(values);
  };
  const std::vector<double> third_row = {0, 0, 0, 0, 0, 0, 0, 0, 1 / r, 0, 1 / r, 0, 0, 0, 0, 0};
  set("self_attn.q", third_row);
  set("self_attn.k", third_row);
  set("self_attn.v", {0, 0, 1 / r, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});  // (1, 0, 0, 0) for token 1, else 0
  set("self_attn.o", {0, 0, 0, 0, 0, 0, 0, 0, r, 0, 0, 0, -r, 0, 0, 0});
  set("mlp.down", {0, 0, 0, 0});
  Sample sample;
  sample.tokens = {1, 0};
  sample.targets = {-1, 0};
  sample.document_begin = {0, 0};
  // Query 1 gives key 0 (token 1) the probability p, so the stream there is r (1, -1, p, -p), of variance 1 + p^2, and
  // the logits are 4 / sqrt(1 + p^2) and 4 p / sqrt(1 + p^2).
  const double p = 1 / (1 + std::exp(0.5 - std::cos(0.5) / 2));
  const double expected = std::log1p(std::exp(4 * (p - 1) / std::sqrt(1 + p * p)));
  EXPECT_NEAR(naive_loss(model, weights, {sample}), expected, 1e-14);
}

TEST(NaiveAdamW, FollowsTheFormulaByHand) {
  TrainingConfig training;
  training.beta1 = 0.5, training.beta2 = 0.75, training.epsilon = 0.25, training.weight_decay = 0.125;
  training.clip_norm = 2.5;
  NaiveWeights weights = {{"w", {1.0, 2.0}}, {"x.norm.weight", {1.0}}};
  NaiveAdamW optimizer(training);
  // Norm 5, so clipped by 1/2 to (1.5, 2) and 0. First step: mhat = g, vhat = g^2.
  EXPECT_EQ(optimizer.update(weights, {{"w", {3.0, 4.0}}, {"x.norm.weight", {0.0}}}, 0.5), 5.0);
  EXPECT_DOUBLE_EQ(weights["w"][0], 1 - 0.5 * (1.5 / 1.75 + 0.125));
  EXPECT_DOUBLE_EQ(weights["w"][1], 2 - 0.5 * (2 / 2.25 + 0.25));
  EXPECT_EQ(weights["x.norm.weight"][0], 1.0);  // no gradient and no weight decay
  // Second step, gradient (1, 0), not clipped: m = (0.5 * 0.75 + 0.5, ...) etc.
  const double before = weights["w"][0];
  optimizer.update(weights, {{"w", {1.0, 0.0}}, {"x.norm.weight", {0.0}}}, 0.5);
  const double m = 0.5 * 0.75 + 0.5, v = 0.75 * (0.25 * 2.25) + 0.25;
  const double mhat = m / 0.75, vhat = v / (1 - 0.75 * 0.75);
  EXPECT_DOUBLE_EQ(weights["w"][0], before - 0.5 * (mhat / (std::sqrt(vhat) + 0.25) + 0.125 * before));
}

}  // namespace
}  // namespace ropewalk
