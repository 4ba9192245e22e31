// Requests, their ends, and slots. tests/equivalence/generation_test.cpp has the numbers.
#include "trainer/inference/generate.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/models.h"
#include "tests/support/training.h"

namespace ropewalk {
namespace {

const std::vector<MeshShape> kMeshes = {{1, 1, 1}, {1, 2, 1}, {1, 1, 2}, {2, 1, 1}, {1, 2, 4}};

// Calls body on every rank of a mesh with a model of initial weights.
void on_ranks(const MeshShape& mesh, const std::function<void(const Predictor&, const Mesh&)>& body) {
  const Config config = test_config(small_model({sliding_rope(3), full_nope()}), mesh, 64, mesh.data_parallel);
  run_ranks(mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread here(config, world);
    Trainer trainer(config, here.rank());
    trainer.initialize();
    body(trainer.predictor(), here.mesh());
  });
}

GenerationRequest request(std::vector<int32_t> prompt, int64_t tokens, uint64_t seed = 5) {
  return {.prompt = std::move(prompt), .tokens = tokens, .sampling = {.temperature = 0.9, .seed = seed}};
}

Generation one(const Predictor& predictor, const GenerationRequest& request) {
  return generate(predictor, {&request, 1}, 1).front();
}

// The result of a request, which all ranks must agree on.
Generation generate_on(const MeshShape& mesh, const GenerationRequest& request) {
  std::vector<Generation> results(static_cast<size_t>(mesh.size()));
  on_ranks(mesh, [&](const Predictor& predictor, const Mesh& here) {
    results[static_cast<size_t>(here.world().rank())] = one(predictor, request);
  });
  for (const Generation& result : results) {
    EXPECT_EQ(result.tokens, results[0].tokens);
    EXPECT_EQ(result.log_probabilities, results[0].log_probabilities);
    EXPECT_EQ(result.end, results[0].end);
  }
  return results[0];
}

TEST(Generate, GivesTheSameTextOnEveryMesh) {
  const Generation first = generate_on(kMeshes[0], request({3, 1, 4}, 20));
  EXPECT_EQ(first.tokens.size(), 20u);
  EXPECT_EQ(first.log_probabilities.size(), 20u);
  EXPECT_EQ(first.end, GenerationEnd::kLength);
  for (const MeshShape& mesh : kMeshes) EXPECT_EQ(generate_on(mesh, request({3, 1, 4}, 20)).tokens, first.tokens);
}

TEST(Generate, DrawsByTheSeed) {
  on_ranks({}, [](const Predictor& predictor, const Mesh&) {
    EXPECT_EQ(one(predictor, request({3}, 20, 5)).tokens, one(predictor, request({3}, 20, 5)).tokens);
    EXPECT_NE(one(predictor, request({3}, 20, 5)).tokens, one(predictor, request({3}, 20, 6)).tokens);
  });
}

TEST(Generate, StopsBeforeTheEndToken) {
  for (const MeshShape& mesh : kMeshes) {
    GenerationRequest asked = request({3, 1, 4}, 20);
    const std::vector<int32_t> text = generate_on(mesh, asked).tokens;
    for (const size_t stop : {size_t{7}, size_t{0}}) {
      asked.end = text[stop];
      const auto first = std::ranges::find(text, asked.end);
      const Generation ended = generate_on(mesh, asked);
      EXPECT_EQ(ended.end, GenerationEnd::kEndToken);
      EXPECT_EQ(ended.tokens, std::vector<int32_t>(text.begin(), first));
      EXPECT_EQ(ended.log_probabilities.size(), ended.tokens.size());
    }
  }
}

// Rank 0 alone asks, so the other ranks need no text to look at; the rest of a batch goes on.
TEST(Generate, StopsWhenTheRequestIsDone) {
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{1, 2, 2}})
    on_ranks(mesh, [](const Predictor& predictor, const Mesh& here) {
      std::vector<GenerationRequest> requests = {request({1}, 9), request({2, 3}, 9), request({1}, 9)};
      const std::vector<int32_t> text = one(predictor, requests[0]).tokens;
      if (here.world().rank() == 0)
        requests[0].is_done = [](std::span<const int32_t> tokens) { return tokens.size() == 4; };
      const std::vector<Generation> results = generate(predictor, requests, 3);
      EXPECT_EQ(results[0].end, GenerationEnd::kIsDone);
      EXPECT_EQ(results[0].tokens, std::vector<int32_t>(text.begin(), text.begin() + 4));
      EXPECT_EQ(results[1].tokens.size(), 9u);
      EXPECT_EQ(results[2].tokens, text);
      requests[0].end = text[3];  // the end token comes before what it would complete
      EXPECT_EQ(one(predictor, requests[0]).end, GenerationEnd::kEndToken);
    });
}

TEST(Generate, TakesOneTokenAndNoRequests) {
  on_ranks({1, 2, 1}, [](const Predictor& predictor, const Mesh&) {
    EXPECT_EQ(one(predictor, request({1, 2}, 1)).tokens.size(), 1u);
    EXPECT_TRUE(generate(predictor, {}, 4).empty());
  });
}

// As a server drives it: requests come and go while others run.
TEST(Generator, AdmitsAndRetiresBetweenSteps) {
  on_ranks({1, 2, 1}, [](const Predictor& predictor, const Mesh&) {
    const GenerationRequest a = request({1, 2, 3, 4, 5, 6, 7}, 12), b = request({9}, 3), c = request({8, 8, 8, 8}, 9);
    Generator generator(predictor, 2, 20);
    EXPECT_TRUE(generator.has_free_slot());
    const int64_t slot_a = generator.admit(a);
    generator.step();
    generator.step();
    const int64_t slot_b = generator.admit(b);
    EXPECT_FALSE(generator.has_free_slot());
    EXPECT_THROW(generator.admit(c), std::logic_error);
    generator.step();
    EXPECT_FALSE(generator.has_ended(slot_b));
    EXPECT_THROW(generator.retire(slot_b), std::logic_error);
    generator.step();
    ASSERT_TRUE(generator.has_ended(slot_b));
    generator.step();  // one that has ended waits to be retired
    const Generation of_b = generator.retire(slot_b);
    EXPECT_TRUE(generator.has_free_slot());
    const int64_t slot_c = generator.admit(c);
    EXPECT_EQ(slot_c, slot_b);
    while (!generator.has_ended(slot_a) || !generator.has_ended(slot_c)) generator.step();
    const Generation of_c = generator.retire(slot_c), of_a = generator.retire(slot_a);
    for (const auto& [result, asked] : {std::pair(&of_a, &a), {&of_b, &b}, {&of_c, &c}}) {
      const Generation alone = one(predictor, *asked);
      EXPECT_EQ(result->tokens, alone.tokens);
      EXPECT_EQ(result->log_probabilities, alone.log_probabilities);
    }
  });
}

TEST(Generator, RefusesWhatDoesNotFit) {
  on_ranks({}, [](const Predictor& predictor, const Mesh&) {
    Generator generator(predictor, 1, 10);
    EXPECT_THROW(generator.admit(request({}, 5)), std::logic_error);
    EXPECT_THROW(generator.admit(request({1}, 0)), std::logic_error);
    EXPECT_THROW(generator.admit(request({1, 2, 3}, 8)), std::logic_error);
    EXPECT_TRUE(generator.has_free_slot());
    generator.admit(request({1, 2, 3}, 7));
  });
}

}  // namespace
}  // namespace ropewalk
