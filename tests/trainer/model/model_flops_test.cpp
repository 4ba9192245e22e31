#include "trainer/model/model_flops.h"

#include <gtest/gtest.h>

#include "tests/support/models.h"

namespace ropewalk {
namespace {

TEST(ModelFlops, PairsAreThoseTheMaskShows) {
  const Sample sample = random_sample(29, 37, {5, 6, 20}, 1);
  for (const LayerKind& kind : {full_nope(), sliding_rope(1), sliding_rope(4), sliding_rope(100)}) {
    int64_t pairs = 0;
    for (int64_t i = 0; i < 29; ++i)
      for (int64_t j = 0; j <= i; ++j) {
        const bool in_window = kind.mask == LayerKind::Mask::kFull || i - j < kind.window;
        pairs += in_window && j >= sample.document_begin[static_cast<size_t>(i)];
      }
    const ModelConfig model = small_model({kind, kind});
    const int64_t targets = 29 - 3, head = model.vocabulary * model.width;  // three documents end before the last token
    const double products = 6.0 * static_cast<double>(29 * (matrix_elements(model) - head) + targets * head);
    const double scores = 12.0 * static_cast<double>(model.query_heads * model.head_size * 2 * pairs);
    EXPECT_EQ(ModelFlops(model).of_batch(Batch{{sample}}), products + scores);
  }
}

TEST(ModelFlops, CountsCommandR7b) {
  ModelConfig model;  // Command R7B's shape; 8,028,033,024 parameters according to its model card
  const LayerKind sliding = sliding_rope(4096, 50000);
  for (int layer = 0; layer < 32; ++layer) model.layers.push_back(layer % 4 == 3 ? full_nope() : sliding);
  model.width = 4096;
  model.hidden = 14336;
  model.query_heads = 32;
  model.key_heads = 8;
  model.head_size = 128;
  model.vocabulary = 256000;
  EXPECT_EQ(parameter_count(model), 8'028'033'024);

  // One sequence of 8192: 53.4 GFLOP per token (6 N + 12 * 4096 * (8 * 4096.5 + 24 * 3072.25)).
  Sample sample;
  sample.tokens.resize(8192);
  sample.targets.resize(8192);
  sample.document_begin.resize(8192);
  const double per_token = ModelFlops(model).of_batch(Batch{{sample}}) / 8192;
  EXPECT_NEAR(per_token, 6.0 * static_cast<double>(matrix_elements(model)) + 12.0 * 4096 * (8 * 4096.5 + 24 * 3072.25),
              1.0);
  EXPECT_NEAR(per_token / 1e9, 53.4, 0.1);
}

// The remaining FLOPs of a run: stage by stage, as if each sequence were one document.
TEST(ModelFlops, LeftIsTheSumOverTheStages) {
  Config config;
  config.model = small_model({sliding_rope(5), sliding_rope(100), full_nope(), sliding_rope(5)});
  config.training.steps = 10;
  config.training.stages = {{.first_step = 0, .sequence_length = 29, .batch = 4},
                            {.first_step = 3, .sequence_length = 120, .batch = 2},
                            {.first_step = 8, .sequence_length = 3, .batch = 1}};
  std::vector<double> of_step;
  for (const Stage& stage : config.training.stages) {
    Batch batch;
    for (int64_t i = 0; i < stage.batch; ++i) batch.samples.push_back(random_sample(stage.sequence_length, 37, {}, 1));
    of_step.push_back(ModelFlops(config.model).of_batch(batch));
    EXPECT_EQ(ModelFlops(config.model).of_step(stage), of_step.back());
  }
  EXPECT_EQ(ModelFlops(config.model).left(config.training, 0), 3 * of_step[0] + 5 * of_step[1] + 2 * of_step[2]);
  EXPECT_EQ(ModelFlops(config.model).left(config.training, 2), 1 * of_step[0] + 5 * of_step[1] + 2 * of_step[2]);
  EXPECT_EQ(ModelFlops(config.model).left(config.training, 3), 5 * of_step[1] + 2 * of_step[2]);
  EXPECT_EQ(ModelFlops(config.model).left(config.training, 9), of_step[2]);
  EXPECT_EQ(ModelFlops(config.model).left(config.training, 10), 0);
}

}  // namespace
}  // namespace ropewalk
