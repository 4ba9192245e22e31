#include "trainer/inference/generate.h"

#include <gtest/gtest.h>

#include <mutex>

#include "tests/support/models.h"
#include "tests/support/ranks.h"
#include "tests/support/training.h"

namespace ropewalk {
namespace {

std::vector<int32_t> generate_on(const MeshShape& mesh, const SamplingOptions& options) {
  const Config config = test_config(small_model({sliding_rope(3), full_nope()}), mesh, 64, mesh.data_parallel);
  std::vector<std::vector<int32_t>> texts(static_cast<size_t>(mesh.size()));
  run_ranks(mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread here(config, world);
    Trainer trainer(config, here.rank());
    trainer.initialize();
    texts[static_cast<size_t>(world->rank())] = generate(trainer.predictor(), {3, 1, 4}, options);
  });
  for (const auto& text : texts) EXPECT_EQ(text, texts[0]);
  return texts[0];
}

TEST(Generate, GivesTheSameTextOnEveryMesh) {
  const SamplingOptions options{.tokens = 20, .temperature = 0.9, .seed = 5, .end = -1};
  const std::vector<int32_t> text = generate_on({1, 1, 1}, options);
  EXPECT_EQ(text.size(), 20u);
  for (const MeshShape& mesh : {MeshShape{1, 2, 1}, MeshShape{1, 1, 2}, MeshShape{2, 1, 1}, MeshShape{1, 2, 4}})
    EXPECT_EQ(generate_on(mesh, options), text);
}

TEST(Generate, DrawsByTheSeedAndStopsBeforeTheEnd) {
  SamplingOptions options{.tokens = 20, .temperature = 0.9, .seed = 5, .end = -1};
  const std::vector<int32_t> text = generate_on({1, 1, 1}, options);
  options.seed = 6;
  EXPECT_NE(generate_on({1, 1, 1}, options), text);
  options.seed = 5;
  options.end = text[7];
  const std::vector<int32_t> ended = generate_on({1, 1, 1}, options);
  ASSERT_LE(ended.size(), 7u);
  EXPECT_TRUE(std::equal(ended.begin(), ended.end(), text.begin()));
}

// At temperature 0 each token is the likeliest one given the tokens before it.
TEST(Generate, TemperatureZeroTakesTheLikeliest) {
  const Config config = test_config(small_model({full_nope()}), {}, 64, 1);
  run_ranks(1, [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread here(config, world);
    Trainer trainer(config, here.rank());
    trainer.initialize();
    const std::vector<int32_t> text =
        generate(trainer.predictor(), {1}, {.tokens = 3, .temperature = 0, .seed = 1, .end = -1});
    std::vector<int32_t> tokens = {1};
    for (const int32_t token : text) {
      const std::vector<double> logits = trainer.predictor().next_token_logits(tokens);
      for (const double logit : logits) EXPECT_LE(logit, logits[static_cast<size_t>(token)]);
      tokens.push_back(token);
    }
  });
}

}  // namespace
}  // namespace ropewalk
