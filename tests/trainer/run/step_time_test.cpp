// The formula of step_time.h, part by part, on devices whose figures make each part easy to compute by hand.
#include "trainer/run/step_time.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/models.h"
#include "tests/support/training.h"

namespace ropewalk {
namespace {

Config config_of(const MeshShape& mesh, std::vector<LayerKind> layers, int64_t length = 64, int64_t batch = 4) {
  return test_config(small_model(std::move(layers)), mesh, length, batch);
}

DeviceModel device() {
  return {.name = "round",
          .peak_flops = 1e9,
          .memory_bytes_per_second = 1e9,
          .efficiency = {.products = 0.5, .full_attention = 0.25, .sliding_attention = 0.2, .memory = 0.8}};
}

StepTime time_of(const Config& config, const LinkRates& links, Purpose purpose = Purpose::kTraining,
                 DeviceModel on = device()) {
  const Stage& stage = config.training.stages.front();
  return model_step_time(estimate_mesh(config, stage, purpose), config, stage, purpose, on, links);
}

const StepTime::Part* part_of(const StepTime& time, const std::string& name) {
  const auto found = std::ranges::find(time.communication, name, &StepTime::Part::name);
  return found == time.communication.end() ? nullptr : &*found;
}

TEST(StepTime, OfOneRankIsArithmeticAndMemory) {
  const Config config = config_of({1, 1, 1}, {sliding_rope(8), full_nope()});
  const Stage& stage = config.training.stages.front();
  const MeshEstimate estimate = estimate_mesh(config, stage, Purpose::kTraining);
  const StepTime time = time_of(config, {1e9, 1e9, 8});
  const Flops& flops = estimate.busiest.flops;
  EXPECT_NEAR(time.products, number(flops.products) / 0.5e9, 1e-12);
  EXPECT_NEAR(time.full_attention, number(flops.full_attention) / 0.25e9, 1e-12);
  EXPECT_NEAR(time.sliding_attention, number(flops.sliding_attention) / 0.2e9, 1e-12);
  EXPECT_GT(estimate.busiest.memory_traffic, 0);
  EXPECT_NEAR(time.memory, number(estimate.busiest.memory_traffic) / 0.8e9, 1e-12);
  EXPECT_EQ(time.exposed(), 0);
  EXPECT_NEAR(time.utilization, estimate.fullest.model_flops / (time.seconds() * 1e9), 1e-12);
}

// Of a model of full layers alone, all bytes of the sequence axis are those of rings; chunks are equal here.
TEST(StepTime, RingBytesAreThoseThatTheStepSends) {
  for (const auto recompute : {TrainingConfig::Recompute::kNothing, TrainingConfig::Recompute::kBlock,
                               TrainingConfig::Recompute::kBlockButAttention})
    for (const MeshShape& mesh : {MeshShape{1, 2, 1}, MeshShape{2, 4, 2}, MeshShape{1, 2, 4}}) {
      Config config = config_of(mesh, {full_nope(), full_nope()});
      config.training.recompute = recompute;
      const Stage& stage = config.training.stages.front();
      for (const Purpose purpose : {Purpose::kTraining, Purpose::kInference}) {
        const MeshEstimate estimate = estimate_mesh(config, stage, purpose);
        const double bytes = part_of(time_of(config, {1e9, 1e9, 8}, purpose), "ring")->transfer * 1e9;
        EXPECT_NEAR(bytes, static_cast<double>(estimate.bytes_sent[Mesh::kSequenceAxis].most), 1e-3);
      }
    }
}

TEST(StepTime, NothingHidesWhatTheTensorGroupSends) {
  const Config config = config_of({1, 1, 2}, {full_nope()});
  const StepTime time = time_of(config, {1e6, 1e3, 8});
  const StepTime::Part* const tensor = part_of(time, "tensor");
  ASSERT_TRUE(tensor);
  EXPECT_TRUE(tensor->inside);
  EXPECT_GT(tensor->transfer, 0);
  EXPECT_EQ(tensor->exposed, tensor->transfer);
}

TEST(StepTime, AttentionHidesTheRingUpToItsOwnTime) {
  const Config config = config_of({1, 4, 1}, {full_nope()});
  const StepTime fast = time_of(config, {1e12, 1e12, 8}), slow = time_of(config, {1e3, 1e3, 8});
  ASSERT_TRUE(part_of(fast, "ring"));
  EXPECT_FALSE(part_of(fast, "halo"));
  EXPECT_EQ(part_of(fast, "ring")->exposed, 0);
  // 4 of 14 are the forward's, of which the last of four blocks hides nothing.
  const double hidden = slow.full_attention * (4.0 / 14 * 3 / 4 + 10.0 / 14);
  EXPECT_NEAR(part_of(slow, "ring")->exposed, part_of(slow, "ring")->transfer - hidden, 1e-9);
}

TEST(StepTime, OwnKeysHideTheHalo) {
  const auto hidden = [](int64_t window) {  // as a fraction of the attention; chunks are 64 / 4 = 16 tokens
    const StepTime time = time_of(config_of({1, 2, 1}, {sliding_rope(window)}), {1e3, 1e3, 8});
    const StepTime::Part& halo = *part_of(time, "halo");
    return (halo.transfer - halo.exposed) / time.sliding_attention;
  };
  EXPECT_NEAR(hidden(8), 1 - 8.0 / 32, 1e-9);
  EXPECT_NEAR(hidden(16), 0.5, 1e-9);
  EXPECT_NEAR(hidden(32), 16.0 / 64, 1e-9);
}

TEST(StepTime, TheLastBucketsSumsAreExposedAndTheOthersHideBehindTheBackward) {
  Config config = config_of({2, 1, 1}, {full_nope(), full_nope(), full_nope()});
  config.parallel.bucket_parameters = 0;
  const StepTime time = time_of(config, {1e12, 1e12, 8});
  const StepTime::Part &sums = *part_of(time, "gradients"), &weights = *part_of(time, "weights");
  // In one bucket nothing overlaps.
  Config one_bucket = config;
  one_bucket.parallel.bucket_parameters = 1 << 30;
  const StepTime at_once = time_of(one_bucket, {1e12, 1e12, 8});
  for (const char* part : {"gradients", "weights"})
    EXPECT_EQ(part_of(at_once, part)->exposed, part_of(at_once, part)->transfer) << part;
  EXPECT_GT(sums.exposed, 0);
  EXPECT_LT(sums.exposed, sums.transfer);
  EXPECT_EQ(weights.exposed, 0);
  EXPECT_DOUBLE_EQ(sums.transfer, weights.transfer) << "fp64: sums as wide as weights";
  // On a slow link all but the backward's time of the last micro-batch is exposed.
  const StepTime slow = time_of(config, {1e2, 1e2, 8});
  const double visible = part_of(slow, "gradients")->transfer - part_of(slow, "gradients")->exposed;
  EXPECT_GT(visible, 0);
  EXPECT_LT(visible, slow.computation());
}

// Groups that reach beyond a host take the other link; ranks are numbered tensor fastest.
TEST(StepTime, AGroupThatHostsShareTakesTheLinkBetweenThem) {
  const Config config = config_of({2, 2, 2}, {full_nope(), sliding_rope(8)});
  const auto inside = [&](int ranks_per_host) {
    const StepTime time = time_of(config, {1e9, 1e6, ranks_per_host});
    std::string out;
    for (const char* name : {"tensor", "ring", "halo", "gradients", "weights"})
      out += part_of(time, name)->inside ? 'i' : '-';
    return out;
  };
  EXPECT_EQ(inside(1), "-----");
  EXPECT_EQ(inside(2), "i----");
  EXPECT_EQ(inside(4), "iii--");
  EXPECT_EQ(inside(8), "iiiii");
}

// Ranks 6 to 11 of a host of 8 are on two hosts.
TEST(StepTime, AGroupThatStraddlesHostsTakesTheLinkBetweenThem) {
  const auto inside = [](const MeshShape& mesh, int ranks_per_host) {
    const StepTime time = time_of(config_of(mesh, {full_nope(), sliding_rope(8)}), {1e9, 1e6, ranks_per_host});
    std::string out;
    for (const char* name : {"tensor", "ring", "halo", "gradients"}) out += part_of(time, name)->inside ? 'i' : '-';
    return out;
  };
  EXPECT_EQ(inside({2, 3, 2}, 8), "i---");
  EXPECT_EQ(inside({2, 3, 2}, 3), "----") << "ranks 2 and 3 are a tensor group";
  EXPECT_EQ(inside({2, 3, 2}, 6), "iii-");
  EXPECT_EQ(inside({1, 3, 2}, 8), "iiii") << "all ranks are on one host";
}

// Ranks that share a KV head are neighbours; the small model has two KV heads.
TEST(StepTime, KeyReplicasTakeTheLinkOfNeighbours) {
  const auto replicas = [](int ranks_per_host) {
    const StepTime time = time_of(config_of({2, 1, 4}, {full_nope()}), {1e9, 1e6, ranks_per_host});
    EXPECT_FALSE(part_of(time, "others"));
    return *part_of(time, "key_replicas");
  };
  EXPECT_TRUE(replicas(2).inside);
  EXPECT_EQ(replicas(2).exposed, replicas(2).transfer) << "nothing hides it";
  EXPECT_FALSE(replicas(1).inside);
  EXPECT_NEAR(replicas(1).transfer, 1e3 * replicas(2).transfer, 1e-9);
  EXPECT_FALSE(part_of(time_of(config_of({2, 1, 2}, {full_nope()}), {1e9, 1e6, 8}), "key_replicas"));
}

// Ranks on CPUs copy the bytes with the core that computes.
TEST(StepTime, NothingHidesWhatRanksOfAHostCopyThemselves) {
  const Config config = config_of({1, 4, 1}, {full_nope()});
  DeviceModel cpu = device();
  cpu.is_gpu = false;
  const StepTime time = time_of(config, {1e12, 1e12, 8}, Purpose::kTraining, cpu);
  EXPECT_EQ(part_of(time, "ring")->exposed, part_of(time, "ring")->transfer);
  EXPECT_EQ(part_of(time_of(config, {1e12, 1e12, 2}, Purpose::kTraining, cpu), "ring")->exposed, 0);
}

TEST(StepTime, OfAForwardPassHasNoGradients) {
  const StepTime time = time_of(config_of({2, 2, 1}, {full_nope()}), {1e9, 1e9, 8}, Purpose::kInference);
  EXPECT_TRUE(part_of(time, "ring"));
  EXPECT_FALSE(part_of(time, "gradients"));
  EXPECT_GT(time.utilization, 0);
}

}  // namespace
}  // namespace ropewalk
