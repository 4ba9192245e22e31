#include "trainer/run/memory_advice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "trainer/config/load_config.h"
#include "trainer/run/device_memory.h"
#include "trainer/run/mesh_search.h"

namespace ropewalk {
namespace {

constexpr const char* kText = R"(
model { layers: 8 width: 64 hidden: 128 query_heads: 4 key_heads: 2 head_size: 16 vocabulary: 512
        pattern { mask: SLIDING window: 32 position: ROPE theta: 10000 } pattern { mask: FULL } }
data { prefix: "text" sequence_length: 2048 }
training { steps: 4 batch: 8 micro_batch: 4 }
parallel { data_parallel: 1 }
output { directory: "run" }
)";

Config reconfigured(const std::vector<std::string>& settings) {
  return parse_config(kText, "text", settings, std::nullopt);
}

MemoryLimit always(int64_t limit) {
  return [=](const MeshShape&) { return limit; };
}

MemoryAdvice advice_for(const MemoryLimit& limit) {
  return advise_on_memory(evaluate_plan(reconfigured({}), Purpose::kTraining), reconfigured, Purpose::kTraining, limit);
}
MemoryAdvice advice_for(int64_t limit) { return advice_for(always(limit)); }

int64_t needed_with(const std::vector<std::string>& settings) {
  return evaluate_plan(reconfigured(settings), Purpose::kTraining).needed;
}

TEST(MemoryAdvice, HasThePriceOfEachSetting) {
  const MemoryAdvice advice = advice_for(1);
  EXPECT_FALSE(advice.smallest);
  std::set<std::string> settings;
  for (const Change& change : advice.changes) {
    ASSERT_EQ(change.settings.size(), 1u);
    settings.insert(change.settings[0]);
    EXPECT_GT(change.saved, 0);
    EXPECT_EQ(change.needed, needed_with(change.settings)) << change.settings[0];
    if (change.settings[0].starts_with("training.recompute")) {
      EXPECT_TRUE(change.arithmetic_more > 0.05 && change.arithmetic_more < 0.4) << change.arithmetic_more;
    }
    if (change.settings[0] == "parallel.context_parallel=2") {
      EXPECT_TRUE(change.ranks_more == 1 && change.sent_more > 0);
      EXPECT_NEAR(change.arithmetic_more, 0, 1e-9) << "two ranks share what one did";
    }
  }
  for (const char* expected : {"training.recompute=BLOCK", "training.recompute=BLOCK_BUT_ATTENTION",
                               "training.micro_batch=1", "parallel.context_parallel=2", "parallel.tensor_parallel=4"})
    EXPECT_TRUE(settings.contains(expected)) << expected;
  EXPECT_FALSE(settings.contains("parallel.tensor_parallel=8")) << "there are 4 query heads";
  const auto price = [](const Change& change) {
    return std::tuple(change.ranks_more, change.arithmetic_more, change.sent_more);
  };
  EXPECT_TRUE(std::ranges::is_sorted(advice.changes, {}, price)) << "the cheapest come first";
}

TEST(MemoryAdvice, FindsTheFewestSettingsThatFit) {
  const int64_t micro = needed_with({"training.micro_batch=1"}), recompute = needed_with({"training.recompute=BLOCK"});
  const int64_t both = needed_with({"training.micro_batch=1", "training.recompute=BLOCK"});
  ASSERT_TRUE(both < micro && both < recompute);
  const MemoryAdvice one = advice_for(micro);
  ASSERT_TRUE(one.smallest && one.with_these_ranks);
  EXPECT_EQ(one.smallest->settings.size(), 1u);
  EXPECT_EQ(one.smallest->ranks_more, 0);
  EXPECT_EQ(one.smallest->arithmetic_more, 0) << "a smaller micro-batch costs none";
  EXPECT_LE(one.smallest->needed, micro);
  const MemoryAdvice two = advice_for(both);
  ASSERT_TRUE(two.smallest && two.with_these_ranks);
  EXPECT_LE(two.smallest->needed, both);
  EXPECT_LE(two.with_these_ranks->needed, both);
  EXPECT_EQ(two.with_these_ranks->ranks_more, 0);
  EXPECT_GE(two.with_these_ranks->settings.size(), two.smallest->settings.size());
}

// Ranks that share a host share its memory: each change is compared with what its own mesh leaves a rank.
TEST(MemoryAdvice, ComparesWithTheMemoryOfTheChangedMesh) {
  const int64_t now = needed_with({}), host = now - 1;
  const MemoryAdvice shared = advice_for([=](const MeshShape& mesh) { return host / mesh.size(); });
  bool some_would_fit_alone = false;
  for (const Change& change : shared.changes) {
    EXPECT_EQ(change.fits, change.needed <= host / (1 + change.ranks_more)) << change.settings[0];
    some_would_fit_alone |= change.ranks_more > 0 && change.needed <= host && !change.fits;
  }
  EXPECT_TRUE(some_would_fit_alone);
  ASSERT_TRUE(shared.smallest);
  EXPECT_TRUE(shared.smallest->fits && shared.smallest->ranks_more == 0);
}

// Two ranks are on two hosts, more ranks share them: the most ranks do not fit, fewer do.
TEST(MemoryAdvice, FindsTheRanksThatFitIfTheMostDoNot) {
  const std::vector<std::string> settings = {"training.recompute=BLOCK", "training.micro_batch=1",
                                             "training.loss_chunk=256", "model.width=512", "model.hidden=2048"};
  const Reconfigure reconfigure = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = settings;
    all.insert(all.end(), more.begin(), more.end());
    return reconfigured(all);
  };
  const auto needed = [&](const std::string& setting) {
    return evaluate_plan(reconfigure({setting}), Purpose::kTraining).needed;
  };
  const int64_t host = needed("parallel.tensor_parallel=2");
  ASSERT_GT(needed("parallel.tensor_parallel=4"), host / 4);
  const MemoryAdvice advice =
      advise_on_memory(evaluate_plan(reconfigure({}), Purpose::kTraining), reconfigure, Purpose::kTraining,
                       [=](const MeshShape& mesh) { return mesh.size() <= 2 ? host : host / mesh.size(); });
  ASSERT_TRUE(advice.smallest);
  EXPECT_EQ(advice.smallest->ranks_more, 1);
  EXPECT_EQ(advice.smallest->settings.size(), 1u);
  EXPECT_TRUE(advice.smallest->fits && advice.smallest->needed <= host);
  EXPECT_FALSE(advice.with_these_ranks);
}

TEST(DeviceMemory, OfAGpuHasRoomForCudaAndNccl) {
  const auto overhead = [](const std::vector<std::string>& settings) {
    std::vector<std::string> all = {"parallel.device=CUDA", "model.head_size=64", "model.width=256"};
    all.insert(all.end(), settings.begin(), settings.end());
    return cuda_overhead(reconfigured(all));
  };
  EXPECT_EQ(cuda_overhead(reconfigured({})).context, 0);
  EXPECT_GT(overhead({}).context, 0);
  EXPECT_EQ(overhead({}).nccl, 0) << "one rank sends nothing";
  const int64_t a_group = overhead({"parallel.data_parallel=2"}).nccl;
  EXPECT_GT(a_group, 0);
  EXPECT_EQ(overhead({"parallel.context_parallel=2"}).nccl, 2 * a_group) << "sequence and gradient";
  EXPECT_EQ(overhead({"parallel.context_parallel=2", "parallel.tensor_parallel=4"}).nccl, 4 * a_group)
      << "key heads are shared too";
  EXPECT_EQ(overhead({"parallel.data_parallel=2", "parallel.device_transport=STAGED"}).nccl, 0);
  const Config config =
      reconfigured({"parallel.device=CUDA", "model.head_size=64", "model.width=256", "parallel.data_parallel=2"});
  EXPECT_EQ(bytes_beside_context({}, config), a_group) << "free memory lacks the context already";
}

DeviceModel device() {
  return {.name = "round", .peak_flops = 1e12, .memory_bytes_per_second = 1e11, .efficiency = {0.5, 0.5, 0.5, 0.8}};
}

TEST(MeshSearch, HasEveryMeshThatIsAllowedTheFastestFirst) {
  const MeshSearch found = search_meshes(8, reconfigured, Purpose::kTraining, device(), {1e10, 1e9, 4}, always(0));
  EXPECT_EQ(found.shapes, 10);
  EXPECT_EQ(found.allowed, 6)
      << "data 1 and 2 with tensor 1, 2 and 4: the batch is two micro-batches, there are 4 heads";
  ASSERT_EQ(found.choices.size(), 6u);
  for (size_t i = 1; i < found.choices.size(); ++i) EXPECT_LE(found.choices[i - 1].seconds, found.choices[i].seconds);
  for (const MeshChoice& choice : found.choices) {
    EXPECT_EQ(choice.mesh.size(), 8);
    EXPECT_TRUE(choice.exposed < choice.seconds && choice.utilization > 0 && choice.utilization < 0.5);
  }
}

// A forward pass has one micro-batch for each data rank, so more data ranks do more work in it.
TEST(MeshSearch, OfForwardPassesComparesTokensPerSecond) {
  const auto found = search_meshes(4, reconfigured, Purpose::kInference, device(), {1e9, 1e9, 4}, always(0));
  ASSERT_GT(found.choices.size(), 2u);
  const MeshChoice& best = found.choices.front();
  EXPECT_EQ(best.mesh.data_parallel, 2) << "as many as the batch allows; they send nothing";
  EXPECT_EQ(best.tokens, 2 * 4 * 2048);
  for (size_t i = 1; i < found.choices.size(); ++i)
    EXPECT_GE(found.choices[i - 1].tokens_per_second(), found.choices[i].tokens_per_second());
  EXPECT_GT(best.seconds, std::ranges::min(found.choices, {}, &MeshChoice::seconds).seconds);
}

TEST(MeshSearch, DropsAndCountsWhatDoesNotFit) {
  const MeshSearch all = search_meshes(4, reconfigured, Purpose::kTraining, device(), {1e10, 1e9, 4}, always(0));
  std::vector<int64_t> needed;
  for (const MeshChoice& choice : all.choices) needed.push_back(choice.needed);
  std::ranges::sort(needed);
  const auto some = search_meshes(4, reconfigured, Purpose::kTraining, device(), {1e10, 1e9, 4}, always(needed[1]));
  EXPECT_EQ(some.choices.size(),
            static_cast<size_t>(std::ranges::count_if(needed, [&](int64_t n) { return n <= needed[1]; })));
  EXPECT_EQ(some.too_large + static_cast<int>(some.choices.size()), some.allowed);
  const auto none = search_meshes(4, reconfigured, Purpose::kTraining, device(), {1e10, 1e9, 4}, always(needed[0] - 1));
  EXPECT_TRUE(none.choices.empty());
  ASSERT_TRUE(none.smallest);
  EXPECT_EQ(none.smallest->needed, needed[0]);
  EXPECT_FALSE(some.smallest) << "some fit";
}

}  // namespace
}  // namespace ropewalk
