#include "trainer/evaluation/evaluate.h"

#include <gtest/gtest.h>

#include "tests/support/models.h"
#include "tests/support/ranks.h"
#include "tests/support/training.h"
#include "trainer/model/initial_weights.h"

namespace ropewalk {
namespace {

class FiveSamples final : public Samples {
 public:
  Sample at(uint64_t index) const override { return random_sample(12, 37, {5}, index % 5); }
  uint64_t samples_per_epoch() const override { return 5; }
};

LossByPosition evaluated(const MeshShape& mesh, int64_t count, const EvaluationOptions& options) {
  const Config config = test_config(small_model({sliding_rope(3), full_nope()}), mesh, 12, mesh.data_parallel);
  LossByPosition out;
  run_ranks(mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread here(config, world);
    const Rank rank = here.rank();
    ModelReplica replica(config, rank);
    draw_initial_weights(replica.state(), replica.table, config.model, 1, rank.kernels);
    const LossByPosition losses = evaluate(Predictor(replica), FiveSamples(), count, options, rank.mesh);
    if (world->rank() == 0) out = losses;
  });
  return out;
}

// In fp64: the error of a dozen consecutive operations on sums of at most 64 terms is below 1e3 * 2^-53 ~ 1e-13.
void expect_same(const LossByPosition& a, const LossByPosition& b) {
  EXPECT_EQ(a.targets, b.targets);
  ASSERT_EQ(a.loss.size(), b.loss.size());
  for (size_t range = 0; range < a.loss.size(); ++range) EXPECT_NEAR(a.loss[range], b.loss[range], 1e-12);
}

TEST(Evaluate, SeesTheSameSamplesHoweverTheyAreShared) {
  for (const int64_t count : {1, 2, 5}) {
    const LossByPosition expected = evaluated({1, 1, 1}, count, {.micro_batch = 1, .position_ranges = 3});
    EXPECT_EQ(expected.targets, (std::vector<int64_t>{4 * count, 3 * count, 4 * count}));  // a document ends at 4
    for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{3, 1, 1}, MeshShape{2, 2, 2}})
      for (const int64_t micro_batch : {1, 2, 7}) expect_same(evaluated(mesh, count, {micro_batch, 3}), expected);
  }
}

TEST(Evaluate, SeesEachSampleOnceAtMost) {
  expect_same(evaluated({2, 1, 1}, 1'000'000, {2, 2}), evaluated({1, 1, 1}, 5, {1, 2}));
}

}  // namespace
}  // namespace ropewalk
