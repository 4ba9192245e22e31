// Generation with a cache equals generation that computes the whole sequence for each token, on every mesh; and the
// bits of a request do not depend on the others.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/equivalence/cases.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/kernels/backends.h"
#include "tests/support/models.h"
#include "trainer/inference/generate.h"

namespace ropewalk {
namespace {

// Without a cache.
Generation recomputed(const Predictor& predictor, const GenerationRequest& request) {
  Generation out;
  std::vector<int32_t> tokens = request.prompt;
  for (int64_t i = 0; i < request.tokens; ++i) {
    const Draw next = draw(predictor.next_token_logits(tokens), request.sampling, i);
    tokens.push_back(next.token);
    out.tokens.push_back(next.token);
    out.log_probabilities.push_back(next.log_probability);
  }
  return out;
}

// Prompts of one token, shorter than the ranks, around every window of the cases (1, 3, 4, 5, 6, 12, 13) and of several
// windows; continuations that cross a window's edge; each greedy, sampled and from a nucleus.
std::vector<GenerationRequest> requests_of(const ModelConfig& model) {
  std::vector<GenerationRequest> out;
  const Sample text = random_sample(40, model.vocabulary, {}, 61);
  for (const int64_t length : {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 31})
    for (const Sampling& sampling : {Sampling{.temperature = 0}, Sampling{.temperature = 0.9, .seed = 7},
                                     Sampling{.temperature = 1.3, .top_p = 0.7, .seed = 8}}) {
      const auto at = std::ssize(out);
      out.push_back({.prompt = {text.tokens.begin() + at % 9, text.tokens.begin() + at % 9 + length},
                     .tokens = 9 + at % 7,
                     .sampling = sampling});
    }
  return out;
}

using Results = std::vector<Generation>;

// What one rank generates without a cache, by case; the heads are the same for up to eight tensor ranks here.
const Results& expected_for(const Case& c, const NaiveWeights& weights,
                            const std::vector<GenerationRequest>& requests) {
  static std::map<std::string, Results> known;
  Results& results = known[c.name];
  if (results.empty())
    on_mesh(on_one_rank(c.config), [&](RankRun& run) {
      set_state(run, weights);
      for (const GenerationRequest& request : requests) results.push_back(recomputed(run.trainer.predictor(), request));
    });
  return results;
}

class GenerationOnEveryMesh : public testing::TestWithParam<std::tuple<MeshShape, std::string>> {};

// One forward is exact to kTolerance = 1e-12 relative to logits of about 10; a continuation repeats the same tokens, so
// nothing accumulates.
TEST_P(GenerationOnEveryMesh, EqualsGenerationWithoutACache) {
  const Case c = make_case(std::get<1>(GetParam()), std::get<0>(GetParam()));
  const NaiveWeights weights = random_weights(c.config.model, 62);
  const std::vector<GenerationRequest> requests = requests_of(c.config.model);
  const Results& expected = expected_for(c, weights, requests);
  on_mesh(c.config, [&](RankRun& run) {
    set_state(run, weights);
    const Results results = generate(run.trainer.predictor(), requests, 5);
    ASSERT_EQ(results.size(), expected.size());
    for (size_t i = 0; i < results.size(); ++i) {
      SCOPED_TRACE(fmt::format("request {}: a prompt of {}", i, requests[i].prompt.size()));
      ASSERT_EQ(results[i].tokens, expected[i].tokens);
      for (size_t t = 0; t < results[i].tokens.size(); ++t)
        ASSERT_NEAR(results[i].log_probabilities[t], expected[i].log_probabilities[t], 1e-10) << t;
    }
  });
}

INSTANTIATE_TEST_SUITE_P(
    Meshes, GenerationOnEveryMesh,
    testing::Combine(testing::Values(MeshShape{1, 1, 1}, MeshShape{1, 2, 1}, MeshShape{1, 4, 1}, MeshShape{1, 8, 1},
                                     MeshShape{1, 3, 1}, MeshShape{1, 1, 2}, MeshShape{1, 2, 2}, MeshShape{1, 4, 2},
                                     MeshShape{1, 2, 4}, MeshShape{2, 2, 1}),
                     testing::Values("RnopeSwa", "WholeTokens", "QkNorm", "QkNormWholeTokens", "FewTokens")),
    [](const auto& test) { return text_of(std::get<0>(test.param)) + "_" + std::get<1>(test.param); });

// A model whose rows fill vectors and blocks of the cpu backend only in part.
ModelConfig odd_model() {
  ModelConfig model = small_model({sliding_rope(5), with_qk_norm(sliding_rope(9)), full_nope(), full_rope()});
  model.width = 72;
  model.hidden = 108;
  model.query_heads = 8;
  model.key_heads = 2;
  model.head_size = 10;
  model.vocabulary = 203;
  return model;
}

class GenerationInBatches : public testing::TestWithParam<std::tuple<BackendKind, MeshShape, bool>> {};

TEST_P(GenerationInBatches, GivesTheBitsOfEachRequestAlone) {
  const auto [backend, mesh, sequence_parallel] = GetParam();
  Config config = test_config(odd_model(), mesh, 64, 1);
  config.parallel.backend = backend;
  config.parallel.sequence_parallel = sequence_parallel;
  on_mesh(config, [&](RankRun& run) {
    run.trainer.initialize();
    const Predictor predictor = run.trainer.predictor();
    std::vector<GenerationRequest> requests = requests_of(config.model);
    requests.erase(requests.begin() + 17, requests.end());
    Results alone;
    for (const GenerationRequest& request : requests) alone.push_back(generate(predictor, {&request, 1}, 1).front());
    for (const int64_t batch : {2, 7, 17}) {
      for (const bool reversed : {false, true}) {
        SCOPED_TRACE(fmt::format("{} at once{}", batch, reversed ? ", in reverse" : ""));
        std::vector<GenerationRequest> asked = requests;
        if (reversed) std::ranges::reverse(asked);
        Results results = generate(predictor, asked, batch);
        if (reversed) std::ranges::reverse(results);
        for (size_t i = 0; i < alone.size(); ++i) {
          EXPECT_EQ(results[i].tokens, alone[i].tokens) << i;
          EXPECT_EQ(results[i].log_probabilities, alone[i].log_probabilities) << i;
        }
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Backends, GenerationInBatches,
                         testing::Combine(host_backends(), testing::Values(MeshShape{1, 1, 1}, MeshShape{1, 2, 2}),
                                          testing::Bool()),
                         [](const auto& test) {
                           return name_of_backend(std::get<0>(test.param)) + "_" + text_of(std::get<1>(test.param)) +
                                  (std::get<2>(test.param) ? "_split" : "_whole");
                         });

// The cache of S tokens is a window of each sliding layer and a part of each full layer; nothing else stays in the
// arena.
TEST(GenerationMemory, IsThatOfTheFormula) {
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{1, 4, 1}, MeshShape{1, 2, 2}, MeshShape{1, 1, 8}}) {
    const Case c = make_case("RnopeSwa", mesh);  // windows of 5, 5, 5; then a full layer; two KV heads of size 4
    on_mesh(c.config, [&](RankRun& run) {
      const Predictor predictor = run.trainer.predictor();
      const Arena& arena = predictor.replica().rank.arena;
      constexpr int64_t kSlots = 3, kLength = 1000;
      const int64_t full_rows = mesh.context_parallel == 1 ? kLength : kLength / mesh.context_parallel + 2;
      const int64_t key_heads = mesh.tensor_parallel == 1 ? 2 : 1;
      const int64_t bytes = 2 * (3 * 5 + full_rows) * key_heads * 4 * size_of(DType::kF64);
      EXPECT_EQ(KeyValueCache::bytes_per_slot(c.config.model, mesh, DType::kF64, kLength), bytes);
      const int64_t before = arena.used_bytes();
      {
        Generator generator(predictor, kSlots, kLength);
        EXPECT_GE(arena.used_bytes() - before, kSlots * bytes);
        EXPECT_LE(arena.used_bytes() - before, kSlots * bytes + 4096);  // alignment
        const int64_t with_cache = arena.used_bytes();
        generator.admit({.prompt = {1, 2, 3}, .tokens = 4});
        generator.step();
        EXPECT_EQ(arena.used_bytes(), with_cache);
      }
      EXPECT_EQ(arena.used_bytes(), before);
    });
  }
}

// A slot is large enough for every split of its length into prompt and continuation.
TEST(GenerationMemory, IsEnoughForEveryPrompt) {
  for (const int ranks : {1, 2, 3, 5, 8}) {
    const Case c = make_case("QkNorm", {1, ranks, 1});
    on_mesh(c.config, [&](RankRun& run) {
      run.trainer.initialize();
      for (const int64_t length : {2, 3, 9, 16, 25})
        for (int64_t prompt = 1; prompt < length; ++prompt) {
          const GenerationRequest request{.prompt = std::vector<int32_t>(static_cast<size_t>(prompt), 1),
                                          .tokens = length - prompt};
          EXPECT_EQ(std::ssize(generate(run.trainer.predictor(), {&request, 1}, 1).front().tokens), length - prompt);
        }
    });
  }
}

}  // namespace
}  // namespace ropewalk
