// Activation checkpointing: every value of training.recompute gives the same bits, and only the operations that it
// names are computed twice.
#include <gtest/gtest.h>

#include <atomic>

#include "tests/equivalence/cases.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/support/forwarding_backend.h"
#include "tests/support/models.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

using Recompute = TrainingConfig::Recompute;

struct Calls {
  std::atomic<int> sliding = 0, full = 0, swiglu = 0;
};

class Counting final : public ForwardingBackend {
 public:
  Counting(Backend& inner, Calls& calls) : ForwardingBackend(inner), calls_(calls) {}
  void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span, const Tensor& o,
                         const Tensor& lse) override {
    ++(span.window ? calls_.sliding : calls_.full);
    ForwardingBackend::attention_forward(q, k, v, span, o, lse);
  }
  void swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) override {
    ++calls_.swiglu;
    ForwardingBackend::swiglu_forward(gate, up, h);
  }

 private:
  Calls& calls_;
};

class RecomputeOnMesh : public testing::TestWithParam<MeshShape> {};

TEST_P(RecomputeOnMesh, GivesTheSameBitsAndComputesTwiceWhatItShould) {
  for (const char* name : {"RnopeSwa", "QkNormWholeTokens"}) {
    Case c = make_case(name, GetParam());
    const NaiveWeights weights = random_weights(c.config.model, 41);
    const std::vector<Sample> samples = samples_of_step(c, 0);
    const auto run = [&](Recompute recompute, Calls& calls) {
      c.config.training.recompute = recompute;
      Faults counting;
      counting.in_backend = [&](Backend& inner, const Mesh&) { return std::make_unique<Counting>(inner, calls); };
      return gradients_on_mesh(c.config, weights, samples, counting);
    };
    Calls none, block, but_attention;
    const LossAndGradients kept = run(Recompute::kNothing, none);
    for (const auto& [recompute, calls] :
         {std::pair{Recompute::kBlock, &block}, {Recompute::kBlockButAttention, &but_attention}}) {
      const LossAndGradients again = run(recompute, *calls);
      EXPECT_EQ(again.loss, kept.loss) << name;
      EXPECT_TRUE(again.gradients == kept.gradients) << name;
      EXPECT_EQ(calls->sliding, 2 * none.sliding) << name;
      EXPECT_EQ(calls->swiglu, none.swiglu) << name;  // the backward always recomputes h
    }
    EXPECT_EQ(block.full, 2 * none.full) << name;
    EXPECT_EQ(but_attention.full, none.full) << name;
    EXPECT_GT(none.sliding + none.full, 0) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Meshes, RecomputeOnMesh,
                         testing::Values(MeshShape{1, 1, 1}, MeshShape{2, 1, 1}, MeshShape{1, 3, 1}, MeshShape{1, 1, 2},
                                         MeshShape{1, 2, 4}, MeshShape{2, 2, 2}),
                         [](const auto& test) { return text_of(test.param); });

// The arena's peak for a model of many layers: it keeps each block's input, or all activations of each block.
TEST(Recompute, KeepsOfABlockOnlyItsInput) {
  const auto peak = [](Recompute recompute) {
    Config config = test_config(small_model(std::vector<LayerKind>(12, full_nope())), {}, 64, 1);
    config.training.recompute = recompute;
    config.training.loss_chunk = 8;
    int64_t bytes = 0;
    run_ranks(1, [&](const std::shared_ptr<Communicator>& world) {
      RankOnThread here(config, world);
      Trainer trainer(config, here.rank());
      trainer.initialize();
      trainer.compute_gradients({{random_sample(64, config.model.vocabulary, {}, 1)}});
      bytes = here.rank().arena.peak_bytes();
    });
    return bytes;
  };
  const int64_t none = peak(Recompute::kNothing), block = peak(Recompute::kBlock),
                but_attention = peak(Recompute::kBlockButAttention);
  EXPECT_LT(block, none / 3);
  EXPECT_LT(block, but_attention);
  EXPECT_LT(but_attention, none);
}

}  // namespace
}  // namespace ropewalk
