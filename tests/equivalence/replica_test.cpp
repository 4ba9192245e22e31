// ModelReplica, weights without a trainer: with initial weights or weights from a checkpoint it gives the same bits as
// the trainer, and it needs the memory and sends the bytes that its estimate predicts.
#include <gtest/gtest.h>

#include "tests/equivalence/cases.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/kernels/backends.h"
#include "tests/support/models.h"
#include "tests/support/temporary_directory.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/evaluation/evaluate.h"
#include "trainer/model/initial_weights.h"
#include "trainer/run/estimate.h"

namespace ropewalk {
namespace {

struct Answers {
  std::vector<double> losses, logits;
  bool operator==(const Answers&) const = default;
};

Answers ask(const Predictor& predictor, const Case& c, const Mesh& mesh) {
  const Stage& stage = c.config.training.stages.front();
  const size_t share = c.samples.size() / static_cast<size_t>(mesh.shape().data_parallel);
  const auto begin = c.samples.begin() + static_cast<std::ptrdiff_t>(share) * mesh.data_rank();
  const Batch batch{{begin, begin + static_cast<std::ptrdiff_t>(share)}};
  return {evaluate(predictor, batch, {stage.micro_batch, 2}, mesh).loss, predictor.next_token_logits({3, 1, 4, 1, 5})};
}

class ReplicaOnMesh : public testing::TestWithParam<std::tuple<MeshShape, BackendKind>> {};

TEST_P(ReplicaOnMesh, AnswersAsTheTrainerDoes) {
  Case c = make_case("RnopeSwa", std::get<0>(GetParam()));
  c.config.parallel.backend = std::get<1>(GetParam());
  run_ranks(c.config.parallel.mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread here(c.config, world);
    const Rank rank = here.rank();
    Trainer trainer(c.config, rank);
    trainer.initialize();
    const Answers expected = ask(trainer.predictor(), c, rank.mesh);
    ModelReplica replica(c.config, rank);
    draw_initial_weights(replica.state(), replica.table, c.config.model, c.config.training.seed, rank.kernels);
    EXPECT_EQ(ask(Predictor(replica), c, rank.mesh), expected);
  });
}

// The checkpoint of a trained model; a replica in bf16 rounds the master weights as it loads them.
TEST_P(ReplicaOnMesh, AnswersFromACheckpointAsTheTrainerDoes) {
  Case c = make_case("QkNorm", std::get<0>(GetParam()));
  c.config.parallel.backend = std::get<1>(GetParam());
  const TemporaryDirectory directory;
  on_mesh(c.config, [&](RankRun& run) {
    run.trainer.step(run.share_of(c.samples), 0);
    const Answers expected = ask(run.trainer.predictor(), c, run.mesh);
    save_checkpoint(directory.path(), {.step = 1}, run.trainer.state(), {}, run.mesh, run.kernels);

    Arena arena(run.kernels);
    ModelReplica replica(c.config, {run.mesh, run.kernels, arena});
    load_checkpoint(find_checkpoint(directory.path(), 1, run.mesh), replica.state(), run.mesh, run.kernels);
    EXPECT_EQ(ask(Predictor(replica), c, run.mesh), expected);
  });
}

// Sequences of one document: with several, fewer bytes are sent.
TEST_P(ReplicaOnMesh, TakesWhatItsEstimateSays) {
  Case c = make_case("QkNorm", std::get<0>(GetParam()));
  c.config.parallel.backend = std::get<1>(GetParam());
  const Stage& stage = c.config.training.stages.front();
  run_ranks(c.config.parallel.mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread here(c.config, world);
    const Rank rank = here.rank();
    const StepEstimate estimate = estimate_step(c.config, stage, world->rank(), Purpose::kInference);
    ModelReplica replica(c.config, rank);
    rank.kernels.fill(replica.weights.flat(), 0.5);
    Batch batch;
    for (int64_t i = 0; i < stage.micro_batch; ++i)
      batch.samples.push_back(random_sample(stage.sequence_length, c.config.model.vocabulary, {}, 5));
    const auto before = rank.mesh.counters();
    evaluate(Predictor(replica), batch, {stage.micro_batch, c.config.validation.position_ranges}, rank.mesh);
    EXPECT_EQ(estimate.memory.weights, replica.weights.flat().bytes());
    EXPECT_EQ(estimate.memory.total(), replica.weights.flat().bytes() + rank.arena.peak_bytes());
    const auto after = rank.mesh.counters();
    for (size_t axis = 0; axis < after.size(); ++axis)
      EXPECT_EQ(estimate.bytes_sent[axis].second, after[axis].second.bytes_sent - before[axis].second.bytes_sent)
          << after[axis].first;
  });
}

INSTANTIATE_TEST_SUITE_P(Meshes, ReplicaOnMesh,
                         testing::Combine(testing::Values(MeshShape{1, 1, 1}, MeshShape{2, 1, 1}, MeshShape{1, 3, 1},
                                                          MeshShape{1, 1, 4}, MeshShape{2, 2, 2}),
                                          testing::Values(BackendKind::kReferenceF64, BackendKind::kReferenceBF16,
                                                          BackendKind::kCpu, BackendKind::kCpuBF16)),
                         [](const auto& test) {
                           return text_of(std::get<0>(test.param)) + "_" + name_of_backend(std::get<1>(test.param));
                         });

}  // namespace
}  // namespace ropewalk
