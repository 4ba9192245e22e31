// Scoring on every mesh of up to four ranks, against the logits of the next token after each prefix, one by one.
#include "trainer/evaluation/scoring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "tests/equivalence/mesh_run.h"
#include "tests/support/expect_error.h"
#include "tests/support/models.h"
#include "trainer/model/initial_weights.h"
#include "trainer/run/estimate.h"

namespace ropewalk {
namespace {

// Windows are many times shorter than the longest prompt, and chunks of logits shorter than most continuations.
Config config_on(const MeshShape& mesh) {
  Config config = test_config(small_model({sliding_rope(3), with_qk_norm(full_rope()), sliding_rope(7), full_nope()}),
                              mesh, 64, mesh.data_parallel);
  config.training.loss_chunk = 3;
  return config;
}

// Calls body on every rank of the mesh with a predictor of the same model.
void with_predictor(const Config& config, const std::function<void(const Predictor&, const Mesh&)>& body) {
  run_ranks(config.parallel.mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread here(config, world);
    ModelReplica replica(config, here.rank());
    draw_initial_weights(replica.state(), replica.table, config.model, 1, here.kernels());
    body(Predictor(replica), here.mesh());
  });
}

// Those that the two key heads allow.
std::vector<MeshShape> meshes() {
  std::vector<MeshShape> all = meshes_up_to(4);
  std::erase_if(all, [](const MeshShape& mesh) { return mesh.tensor_parallel == 3; });
  return all;
}

using Answers = std::vector<ScoringAnswer>;

Answers scored(const MeshShape& mesh, const std::vector<ScoringRequest>& requests, int64_t batch_tokens) {
  Answers out;
  with_predictor(config_on(mesh), [&](const Predictor& predictor, const Mesh& here) {
    const auto answers = score(predictor, here, requests, {.batch_tokens = batch_tokens});
    ASSERT_TRUE(answers.has_value());
    if (here.world().rank() == 0) out = *answers;
  });
  return out;
}

// The answer by Predictor::next_token_logits(), and the bound on the difference of another way to compute it. As for
// kTolerance, an error of 1e-12 of the largest logit; a log-probability is a difference of two numbers of that size.
struct Expected {
  ScoringAnswer answer;
  double tolerance = 0;
};

Expected expected_of(const Predictor& predictor, const ScoringRequest& request) {
  Expected out{{.token_logprobs = {}, .is_greedy = true}, 0};
  for (auto at = static_cast<size_t>(std::ssize(request.tokens) - request.targets); at < request.tokens.size(); ++at) {
    const std::vector<double> logits =
        predictor.next_token_logits({request.tokens.begin(), request.tokens.begin() + static_cast<std::ptrdiff_t>(at)});
    double sum = 0, largest = 1;
    for (const double logit : logits) {
      sum += std::exp(logit);
      largest = std::max(largest, std::abs(logit));
    }
    const double target = logits[static_cast<size_t>(request.tokens[at])];
    out.answer.token_logprobs.push_back(target - std::log(sum));
    out.answer.is_greedy = out.answer.is_greedy && target == *std::ranges::max_element(logits);
    out.tolerance = std::max(out.tolerance, 2 * kTolerance * largest);
  }
  return out;
}

int32_t likeliest(const std::vector<double>& logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

// Requests of all lengths, in no order. Of each third one the continuation is the greedy one, and of each sixth all of
// it but the last token.
struct Asked {
  std::vector<ScoringRequest> requests;
  std::vector<Expected> expected;

  Asked() {
    with_predictor(config_on({}), [&](const Predictor& predictor, const Mesh&) {
      std::mt19937_64 random(7);
      const auto token = [&] { return static_cast<int32_t>(random() % 37); };
      const std::pair<int, int> sizes[] = {{1, 1}, {5, 2}, {40, 4}, {1, 6}, {3, 19}, {2, 1}, {60, 1}, {9, 9}, {1, 2}};
      for (const auto& [context, continuation] : sizes) {
        ScoringRequest request{.line = std::ssize(requests) + 1, .tokens = {}, .targets = continuation};
        for (int i = 0; i < context; ++i) request.tokens.push_back(token());
        for (int i = 0; i < continuation; ++i)
          request.tokens.push_back(request.line % 3 == 0 ? likeliest(predictor.next_token_logits(request.tokens))
                                                         : token());
        if (request.line % 6 == 0) request.tokens.back() = (request.tokens.back() + 1) % 37;
        requests.push_back(request);
        expected.push_back(expected_of(predictor, request));
      }
    });
  }
};

const Asked& asked() {
  static const Asked all;
  return all;
}

void expect_expected(const Answers& answers) {
  ASSERT_EQ(answers.size(), asked().requests.size());
  for (size_t i = 0; i < answers.size(); ++i) {
    SCOPED_TRACE(i);
    const auto& [expected, tolerance] = asked().expected[i];
    EXPECT_EQ(answers[i].is_greedy, expected.is_greedy);
    ASSERT_EQ(answers[i].token_logprobs.size(), expected.token_logprobs.size());
    for (size_t token = 0; token < expected.token_logprobs.size(); ++token)
      EXPECT_NEAR(answers[i].token_logprobs[token], expected.token_logprobs[token], tolerance) << token;
  }
}

TEST(Scoring, HasGreedyRequestsAndOthers) {
  const auto greedy = std::ranges::count_if(asked().expected, [](const Expected& e) { return e.answer.is_greedy; });
  EXPECT_GE(greedy, 2);
  EXPECT_FALSE(asked().expected[5].answer.is_greedy);
}

class ScoringOnMesh : public testing::TestWithParam<MeshShape> {};

// Alone (1 token at a time is less than any request), in small packs, and all in one sequence.
TEST_P(ScoringOnMesh, GivesTheLogProbabilitiesOfTheNextTokens) {
  for (const int64_t batch_tokens : {1, 24, 1000}) {
    SCOPED_TRACE(batch_tokens);
    expect_expected(scored(GetParam(), asked().requests, batch_tokens));
  }
}

// Every token is changed in turn, in one request of a sequence; only this request's answer may change, by a single bit.
TEST_P(ScoringOnMesh, ARequestSeesNothingOfTheOthers) {
  const std::vector<ScoringRequest> requests(asked().requests.begin(), asked().requests.begin() + 4);
  const Answers before = scored(GetParam(), requests, 1000);
  for (size_t changed = 0; changed < requests.size(); ++changed) {
    std::vector<ScoringRequest> others = requests;
    for (int32_t& token : others[changed].tokens) token = (token + 1) % 37;
    const Answers after = scored(GetParam(), others, 1000);
    for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(after[i] == before[i], i != changed) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(UpToFourRanks, ScoringOnMesh, testing::ValuesIn(meshes()),
                         [](const auto& test) { return text_of(test.param); });

// With logits that outweigh what a block needs: a large vocabulary.
TEST(Scoring, FitsIntoWhatItsLongestSequenceReserves) {
  RequestTotals totals;
  for (const ScoringRequest& request : asked().requests) totals.add(request);
  for (const MeshShape& mesh : meshes())
    for (const int64_t batch_tokens : {24, 1000}) {
      Config config = config_on(mesh);
      config.model.vocabulary = 9999;
      config.training.loss_chunk = 16;
      Stage& stage = config.training.stages.front();
      stage.sequence_length = longest_sequence(totals, batch_tokens, mesh.context_parallel);
      run_ranks(mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
        RankOnThread here(config, world);
        const Rank rank = here.rank();
        const int64_t planned = estimate_run(config, world->rank(), Purpose::kInference).memory.arena();
        ModelReplica replica(config, rank);
        draw_initial_weights(replica.state(), replica.table, config.model, 1, rank.kernels);
        score(Predictor(replica), rank.mesh, asked().requests, {.batch_tokens = batch_tokens});
        EXPECT_GT(planned, 0);
        EXPECT_LE(rank.arena.peak_bytes(), planned) << text_of(mesh) << ", " << batch_tokens;
      });
    }
}

TEST(Scoring, StopsOnAllRanksIfOneIsAsked) {
  for (const MeshShape& mesh : meshes())
    for (int asked_rank = 0; asked_rank < mesh.size(); ++asked_rank)
      with_predictor(config_on(mesh), [&](const Predictor& predictor, const Mesh& here) {
        int64_t sequences = 0;
        const ScoringOptions options{
            .batch_tokens = 1,
            .stop_requested = [&] { return here.world().rank() == asked_rank && sequences == 1; },
            .progress = [&](int64_t) { ++sequences; }};
        EXPECT_FALSE(score(predictor, here, asked().requests, options).has_value()) << text_of(mesh);
        const bool together = here.data_rank() == asked_rank / (mesh.context_parallel * mesh.tensor_parallel);
        EXPECT_TRUE(!together || sequences == 1) << sequences;
      });
}

// A weight that is not a number reaches every row, on the ranks that hold it and on the others.
TEST(Scoring, RefusesALogProbabilityThatIsNotFinite) {
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{2, 1, 2}}) {
    const Config config = config_on(mesh);
    run_ranks(mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
      RankOnThread here(config, world);
      ModelReplica replica(config, here.rank());
      here.kernels().fill(replica.weights.flat(), std::numeric_limits<double>::quiet_NaN());
      expect_error<NumericalError>(
          [&] { score(Predictor(replica), here.mesh(), asked().requests, {}); },
          {"the request in line 1: the log-probability of token 1 of the continuation is ", "nan", "JSON"});
    });
  }
}

// A rank may hold more of a shorter sequence than of a longer one, but never more than of the one that is planned.
TEST(Packing, NoRankHoldsMoreThanPlanned) {
  for (const int ranks : {1, 2, 3, 4, 7, 8})
    for (int64_t longest = 1; longest < 100; ++longest) {
      const SequenceLayout planned(
          longest_sequence({.requests = 1, .tokens = longest, .longest = longest}, 8192, ranks), ranks);
      for (int64_t length = 1; length <= longest; ++length)
        for (int rank = 0; rank < ranks; ++rank)
          ASSERT_LE(SequenceLayout(length, ranks).local_length(rank), planned.local_length(rank)) << length;
    }
}

TEST(Packing, TakesEachRequestOnceAndTheLongestFirst) {
  for (const int64_t most : {1, 5, 24, 60, 1000}) {
    std::vector<int> taken(asked().requests.size());
    int64_t before = std::numeric_limits<int64_t>::max();
    for (const RequestPack& pack : pack_requests(asked().requests, most)) {
      int64_t length = 0;
      for (const size_t i : pack.requests) {
        taken[i] += 1;
        EXPECT_LE(asked().requests[i].length(), before);
        length += before = asked().requests[i].length();
      }
      EXPECT_EQ(pack.length, length);
      EXPECT_TRUE(length <= most || pack.requests.size() == 1) << length;
    }
    EXPECT_TRUE(std::ranges::all_of(taken, [](int times) { return times == 1; }));
  }
}

}  // namespace
}  // namespace ropewalk
