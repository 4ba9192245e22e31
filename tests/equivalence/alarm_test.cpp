// Injects faults, each of which the comparison of gradients_test.cpp must detect.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/equivalence/cases.h"
#include "tests/equivalence/faults.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/support/models.h"

namespace ropewalk {
namespace {

class Alarm : public testing::Test {
 protected:
  // The comparison of the suite, with faults: how far the gradients are from those of one rank; infinity if ranks hold
  // different data.
  static double distance(const Case& c, const Faults& faults) {
    const NaiveWeights weights = random_weights(c.config.model, 61);
    const LossAndGradients one = gradients_on_mesh(on_one_rank(c.config), weights, c.samples);
    try {
      return difference(gradients_on_mesh(c.config, weights, c.samples, faults).gradients, one.gradients).relative;
    } catch (const Disagreement&) {
      return INFINITY;
    }
  }

  // Expects no difference without the fault, and a clear one with it.
  static void expect_rings(const Case& c, const Faults& faults) {
    EXPECT_LE(distance(c, {}), kTolerance) << "without a fault";
    EXPECT_GT(distance(c, faults), 1e3 * kTolerance) << "the fault went by";
  }
  static void expect_rings(const Case& c, CommunicationFault& fault) {
    Faults faults;
    faults.in_world = [&](std::shared_ptr<Communicator> world) { return with_fault(world, fault); };
    expect_rings(c, faults);
    EXPECT_GT(fault.times, 0) << "the fault did not happen";
  }
  // A backend with a fault on world rank 1 only.
  template <typename MakeFaulty>
  static void expect_rings_on_rank_1(const Case& c, MakeFaulty make_faulty) {
    Faults faults;
    faults.in_backend = [&](Backend& inner, const Mesh& mesh) -> std::unique_ptr<Backend> {
      if (mesh.world().rank() != 1) return nullptr;
      return make_faulty(inner);
    };
    expect_rings(c, faults);
  }

  // One sequence; without documents, queries of every rank see keys of every other rank.
  static Case case_of(std::vector<LayerKind> layers, const MeshShape& mesh,
                      const std::vector<int64_t>& documents = {}) {
    Case c = make_case("RnopeSwa", mesh);
    c.config.model.layers = std::move(layers);
    c.config.training.stages[0].batch = 1;
    c.samples = {random_sample(26, c.config.model.vocabulary, documents, 62)};
    return c;
  }
  static int64_t row_elements(const Case& c) {
    return c.config.model.key_heads / c.config.parallel.mesh.tensor_parallel * c.config.model.head_size;
  }
};

using Kind = CommunicationFault::Kind;
const auto kAnySequenceGroup = [](const std::vector<int>&, const Tensor&) {
  return true;
};  // only sequence groups exchange messages

TEST_F(Alarm, RingsForADroppedHaloRow) {
  for (const MeshShape& mesh : {MeshShape{1, 2, 1}, MeshShape{1, 4, 2}}) {
    const Case c = case_of({sliding_rope(5), sliding_rope(5)}, mesh);
    CommunicationFault fault{Kind::kLostMessage, kAnySequenceGroup, row_elements(c)};
    expect_rings(c, fault);
  }
}

TEST_F(Alarm, RingsForALostRingBlock) {
  for (const MeshShape& mesh : {MeshShape{1, 2, 1}, MeshShape{1, 4, 2}}) {
    const Case c = case_of({full_nope(), full_rope()}, mesh);
    CommunicationFault fault{Kind::kLostMessage, kAnySequenceGroup, 1 << 20};
    expect_rings(c, fault);
  }
}

TEST_F(Alarm, RingsForASkippedRingStep) {
  for (const bool forward : {true, false}) {
    for (const MeshShape& mesh : {MeshShape{1, 2, 1}, MeshShape{1, 4, 1}}) {
      expect_rings_on_rank_1(case_of({full_nope(), full_nope()}, mesh),
                             [&](Backend& inner) { return std::make_unique<SkippedVisit>(inner, forward, 0); });
    }
  }
}

TEST_F(Alarm, RingsForASkippedHalo) {
  for (const bool forward : {true, false}) {
    expect_rings_on_rank_1(case_of({sliding_rope(5)}, {1, 4, 1}),
                           [&](Backend& inner) { return std::make_unique<SkippedVisit>(inner, forward, 0); });
  }
}

TEST_F(Alarm, RingsForARotationOffByOneOnOneRank) {
  for (const LayerKind& kind : {sliding_rope(5), full_rope()}) {
    expect_rings_on_rank_1(case_of({kind, full_nope()}, {1, 2, 1}),
                           [](Backend& inner) { return std::make_unique<LateRotation>(inner); });
  }
}

TEST_F(Alarm, RingsForAWindowOffByOne) {
  for (const int64_t error : {-1, 1}) {
    expect_rings_on_rank_1(case_of({sliding_rope(5)}, {1, 2, 1}), [&](Backend& inner) {
      return std::make_unique<OtherMask>(inner, [=](AttentionSpan& span) { *span.window += error; });
    });
  }
}

TEST_F(Alarm, RingsForForgottenDocuments) {
  for (const LayerKind& kind : {sliding_rope(5), full_nope()}) {
    expect_rings_on_rank_1(case_of({kind}, {1, 2, 1}, {9, 17}), [](Backend& inner) {
      return std::make_unique<OtherMask>(inner, [](AttentionSpan& span) { span.document_begin = Tensor(); });
    });
  }
}

// The fault leaves out sums of tensors over these groups, but not of single numbers, such as the count of targets.
void forgets(const std::vector<std::vector<int>>& groups, CommunicationFault& fault) {
  fault.hits = [groups](const std::vector<int>& group, const Tensor& x) {
    return x.elements() > 1 && std::find(groups.begin(), groups.end(), group) != groups.end();
  };
}

TEST_F(Alarm, RingsForAForgottenSumOverTheTensorGroup) {
  for (const char* name : {"RnopeSwa", "WholeTokens"}) {  // by reduce-scatter, and by all-reduce
    CommunicationFault fault{Kind::kForgottenSum, {}};
    forgets({{0, 1}, {2, 3}}, fault);
    expect_rings(make_case(name, {1, 2, 2}), fault);
  }
}

TEST_F(Alarm, RingsForAForgottenSumOverTheGradientGroup) {
  for (const MeshShape& mesh : {MeshShape{2, 1, 2}, MeshShape{1, 2, 2}}) {
    CommunicationFault fault{Kind::kForgottenSum, {}};
    forgets({{0, 2}, {1, 3}}, fault);
    expect_rings(make_case("RnopeSwa", mesh), fault);
  }
}

// Two KV heads on four tensor ranks: their gradients are summed over the pairs of ranks that hold the same head.
TEST_F(Alarm, RingsForAForgottenSumOverKeyReplicas) {
  for (const char* name : {"RnopeSwa", "QkNorm"}) {
    CommunicationFault fault{Kind::kForgottenSum, {}};
    forgets({{0, 1}, {2, 3}}, fault);
    expect_rings(make_case(name, {1, 1, 4}), fault);
  }
}

// The mean of means is not the mean: the count of targets must be summed before the backward.
TEST_F(Alarm, RingsForATargetCountOfOneDataRankOnly) {
  Case c = make_case("RnopeSwa", {2, 1, 1});
  c.samples[0].targets.assign(26, -1);  // the data ranks have different counts
  CommunicationFault fault{Kind::kForgottenSum,
                           [](const std::vector<int>&, const Tensor& x) { return x.elements() == 1; }};
  expect_rings(c, fault);
}

}  // namespace
}  // namespace ropewalk
