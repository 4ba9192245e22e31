// The estimate of a mesh counts few of its ranks and is that of all: its numbers equal what counting every rank gives.
#include "trainer/run/mesh_estimate.h"

#include <gtest/gtest.h>

#include "parallel/attention/attention_cost.h"
#include "tests/equivalence/cases.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/support/models.h"
#include "tests/support/ranks.h"
#include "trainer/run/starting_point.h"

namespace ropewalk {
namespace {

using Recompute = TrainingConfig::Recompute;

// The bytes that attention of a rank sends, layer by layer.
AttentionWork attention_of(const Config& config, const Stage& stage, Purpose purpose, const StepEstimate& rank,
                           int context_rank) {
  const MeshShape& mesh = config.parallel.mesh;
  const SequenceLayout layout(stage.sequence_length, mesh.context_parallel);
  const bool training = purpose == Purpose::kTraining;
  const int64_t sequences = training ? stage.batch / mesh.data_parallel : stage.micro_batch;
  const int64_t heads = std::max<int64_t>(1, config.model.key_heads / mesh.tensor_parallel);
  const int64_t values =
      2 * heads * config.model.head_size * sequences;  // of keys and values, in a row of each sequence
  const DType type = compute_type(config.parallel.backend);
  AttentionWork out{.flops = rank.flops};
  for (const LayerKind& layer : config.model.layers) {
    const bool full = layer.mask == LayerKind::Mask::kFull;
    const AttentionCost cost = full ? ring_cost(layout, context_rank) : halo_cost(layout, context_rank, layer.window);
    const bool twice = training && (config.training.recompute == Recompute::kBlock ||
                                    (config.training.recompute == Recompute::kBlockButAttention && !full));
    const int64_t keys = cost.sent_rows * values * size_of(type);
    const int64_t forward = keys * (twice ? 2 : 1);
    const int64_t backward = training ? keys + cost.sent_gradient_rows * values * size_of(accumulator_of(type)) : 0;
    if (!full) out.halo += forward + backward;
    if (!full) continue;
    out.ring_forward += forward;
    out.ring_backward += backward;
    const FlopCount pairs = FlopCount{cost.pairs} * config.model.query_heads / mesh.tensor_parallel;
    out.full_forward += pairs * 4 * config.model.head_size * sequences * (twice ? 2 : 1);
  }
  return out;
}

// estimate_step of every rank.
MeshEstimate count_every_rank(const Config& config, const Stage& stage, Purpose purpose) {
  const MeshShape& mesh = config.parallel.mesh;
  MeshEstimate out;
  FlopCount all = 0;
  for (int rank = 0; rank < mesh.size(); ++rank) {
    StepEstimate estimate = estimate_step(config, stage, rank, purpose);
    all += estimate.flops.total();
    out.bytes_sent.resize(estimate.bytes_sent.size());
    for (size_t axis = 0; axis < estimate.bytes_sent.size(); ++axis) {
      const auto& [name, bytes] = estimate.bytes_sent[axis];
      MeshEstimate::Sent& sent = out.bytes_sent[axis];
      sent = {name, std::max(bytes, sent.most), sent.all + bytes};
    }
    if (rank == 0 || estimate.flops.total() > out.busiest.flops.total()) {
      out.busiest = estimate;
      out.busiest_rank = rank;
      const int context = rank / mesh.tensor_parallel % mesh.context_parallel;
      out.busiest_attention = attention_of(config, stage, purpose, estimate, context);
    }
    if (rank == 0 || is_fuller(estimate, out.fullest)) out.fullest = std::move(estimate);
  }
  out.mean_flops = static_cast<double>(all) / mesh.size();
  return out;
}

void expect_equal(const Flops& actual, const Flops& expected) {
  EXPECT_EQ(actual.products, expected.products);
  EXPECT_EQ(actual.full_attention, expected.full_attention);
  EXPECT_EQ(actual.sliding_attention, expected.sliding_attention);
}

void expect_equal(const MeshEstimate& actual, const MeshEstimate& expected) {
  const auto kinds = [](const StepEstimate& rank) {
    const MemoryUse& memory = rank.memory;
    return std::vector{memory.weights,   memory.gradients, memory.optimizer,   memory.activations, memory.working,
                       rank.batch_bytes, rank.tokens,      rank.message_bytes, rank.program_bytes};
  };
  EXPECT_EQ(kinds(actual.fullest), kinds(expected.fullest));
  EXPECT_EQ(actual.fullest.model_flops, expected.fullest.model_flops);
  expect_equal(actual.busiest.flops, expected.busiest.flops);
  EXPECT_EQ(actual.busiest.memory_traffic, expected.busiest.memory_traffic);
  EXPECT_EQ(actual.mean_flops, expected.mean_flops);
  const AttentionWork &attention = actual.busiest_attention, &other = expected.busiest_attention;
  EXPECT_EQ(attention.full_forward, other.full_forward);
  EXPECT_EQ(attention.ring_forward, other.ring_forward);
  EXPECT_EQ(attention.ring_backward, other.ring_backward);
  EXPECT_EQ(attention.halo, other.halo);
  ASSERT_EQ(actual.bytes_sent.size(), expected.bytes_sent.size());
  for (size_t i = 0; i < actual.bytes_sent.size(); ++i) {
    const MeshEstimate::Sent &sent = actual.bytes_sent[i], &every = expected.bytes_sent[i];
    EXPECT_TRUE(sent.axis == every.axis && sent.most == every.most && sent.all == every.all) << every.axis;
  }
}

void expect_every_rank(const Config& config) {
  const Stage& stage = config.training.stages.front();
  for (const Purpose purpose : {Purpose::kTraining, Purpose::kInference}) {
    const MeshEstimate expected = count_every_rank(config, stage, purpose);
    const MeshEstimate actual = estimate_mesh(config, stage, purpose);
    expect_equal(actual, expected);
    EXPECT_EQ(actual.busiest_rank, expected.busiest_rank);
    EXPECT_FALSE(is_fuller(expected.fullest, actual.fullest));
    const StepEstimate fullest = estimate_step(config, stage, actual.fullest_rank, purpose);
    EXPECT_EQ(process_bytes(fullest), process_bytes(actual.fullest)) << "the rank that is named is one of the fullest";
  }
}

class MeshEstimateOn : public testing::TestWithParam<MeshShape> {};

// Sequences shorter than the ranks, windows that reach over many chunks, vocabularies and tokens that do not divide.
TEST_P(MeshEstimateOn, IsThatOfEveryRank) {
  for (const std::string& name : case_names())
    for (const Recompute recompute : {Recompute::kNothing, Recompute::kBlock, Recompute::kBlockButAttention}) {
      Case c = make_case(name, GetParam());
      SCOPED_TRACE(fmt::format("{}, recompute {}", name, static_cast<int>(recompute)));
      c.config.training.recompute = recompute;
      expect_every_rank(c.config);
    }
}

std::vector<MeshShape> meshes() {
  std::vector<MeshShape> meshes = meshes_up_to(8);
  for (const MeshShape mesh : {MeshShape{2, 4, 2},
                               {1, 4, 4},
                               {3, 3, 3},
                               {2, 5, 3},
                               {4, 4, 4},
                               {64, 1, 1},
                               {1, 64, 1},
                               {1, 8, 8},
                               {8, 8, 1},
                               {5, 11, 1},
                               {1, 21, 3},
                               {2, 16, 2}})
    meshes.push_back(mesh);
  return meshes;
}
INSTANTIATE_TEST_SUITE_P(Meshes, MeshEstimateOn, testing::ValuesIn(meshes()),
                         [](const auto& test) { return text_of(test.param); });

// FLOPs beyond 2^53, a window of 4,096 over chunks of 32 and of 8,192 tokens, gradient accumulation.
TEST(MeshEstimate, IsThatOfEveryRankOfALargeModel) {
  const auto expect = [](const std::vector<std::string>& settings) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(settings, " ")));
    expect_every_rank(load_config(ROPEWALK_CONFIGS "/command_r7b.textproto", settings, std::nullopt));
  };
  const auto mesh = [](int data, int context, int tensor) {
    return std::vector<std::string>{fmt::format("parallel.data_parallel={}", data),
                                    fmt::format("parallel.context_parallel={}", context),
                                    fmt::format("parallel.tensor_parallel={}", tensor)};
  };
  const auto with = [](std::vector<std::string> settings, const std::vector<std::string>& more) {
    settings.insert(settings.end(), more.begin(), more.end());
    return settings;
  };
  expect(with(mesh(1, 64, 1), {"data.sequence_length=1048576", "parallel.device=CUDA"}));
  expect(with(mesh(1, 64, 1), {"data.sequence_length=4099"}));
  expect(with(mesh(2, 4, 8), {"data.sequence_length=131071", "training.batch=12", "training.micro_batch=3"}));
  expect(with(mesh(1, 3, 16), {"data.sequence_length=8191", "parallel.sequence_parallel=false"}));
}

}  // namespace
}  // namespace ropewalk
