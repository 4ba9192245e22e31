#include "trainer/inference/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <vector>

namespace ropewalk {
namespace {

// Logits whose softmax is 0.4, 0.3, 0.2, 0.1, in another order and shifted.
const std::vector<double> kLogits = {std::log(0.1) + 3, std::log(0.4) + 3, std::log(0.2) + 3, std::log(0.3) + 3};
const std::vector<double> kProbabilities = {0.1, 0.4, 0.2, 0.3};

std::map<int32_t, int> counts(const std::vector<double>& logits, const Sampling& sampling, int draws) {
  std::map<int32_t, int> out;
  for (int i = 0; i < draws; ++i) ++out[draw(logits, sampling, i).token];
  return out;
}

std::set<int32_t> drawn(const std::vector<double>& logits, const Sampling& sampling) {
  std::set<int32_t> out;
  for (const auto& [token, count] : counts(logits, sampling, 2000)) out.insert(token);
  return out;
}

TEST(Sampling, TemperatureZeroTakesTheFirstOfTheLikeliest) {
  for (const uint64_t seed : {1, 2, 3}) EXPECT_EQ(draw(kLogits, {.temperature = 0, .seed = seed}, 0).token, 1);
  EXPECT_EQ(draw(std::vector<double>{1, 7, 7, 2, 7}, {.temperature = 0}, 0).token, 1);
}

// 10000 draws: five standard deviations are at most 250.
TEST(Sampling, DrawsByTheTemperedProbabilities) {
  constexpr int kDraws = 10000;
  for (const double temperature : {1.0, 0.5, 3.0}) {
    double sum = 0;
    for (const double p : kProbabilities) sum += std::pow(p, 1 / temperature);
    std::map<int32_t, int> seen = counts(kLogits, {.temperature = temperature}, kDraws);
    for (int32_t v = 0; v < 4; ++v)
      EXPECT_NEAR(seen[v], kDraws * std::pow(kProbabilities[static_cast<size_t>(v)], 1 / temperature) / sum, 250)
          << temperature << " " << v;
  }
}

TEST(Sampling, TheLogProbabilityIsTheModels) {
  for (const Sampling& sampling : {Sampling{.temperature = 0}, Sampling{.temperature = 2, .top_p = 0.8}})
    for (int64_t i = 0; i < 20; ++i) {
      const Draw one = draw(kLogits, sampling, i);
      EXPECT_NEAR(one.log_probability, std::log(kProbabilities[static_cast<size_t>(one.token)]), 1e-14);
    }
}

TEST(Sampling, TheNucleusIsTheFewestTokensThatReachTopP) {
  using Tokens = std::set<int32_t>;
  const auto nucleus = [](double top_p) { return drawn(kLogits, {.temperature = 1, .top_p = top_p}); };
  EXPECT_EQ(nucleus(1e-9), Tokens({1}));
  EXPECT_EQ(nucleus(0.39), Tokens({1}));
  EXPECT_EQ(nucleus(0.41), Tokens({1, 3}));
  EXPECT_EQ(nucleus(0.69), Tokens({1, 3}));
  EXPECT_EQ(nucleus(0.71), Tokens({1, 2, 3}));
  EXPECT_EQ(nucleus(0.91), Tokens({0, 1, 2, 3}));
  EXPECT_EQ(nucleus(1), Tokens({0, 1, 2, 3}));
  // Exactly top_p is enough; of equally likely tokens the first.
  const std::vector<double> equal = {0, 0, 0, 0};
  EXPECT_EQ(drawn(equal, {.temperature = 1, .top_p = 0.5}), Tokens({0, 1}));
  EXPECT_EQ(drawn(equal, {.temperature = 1, .top_p = 0.75}), Tokens({0, 1, 2}));
  // The nucleus is that of the tempered distribution: at a high temperature 0.4 is not 0.4 any more.
  EXPECT_EQ(drawn(kLogits, {.temperature = 100, .top_p = 0.3}), Tokens({1, 3}));
}

TEST(Sampling, ATokenOfTheNucleusKeepsItsShare) {
  std::map<int32_t, int> seen = counts(kLogits, {.temperature = 1, .top_p = 0.6}, 7000);
  EXPECT_NEAR(seen[1], 4000, 210);  // five standard deviations
  EXPECT_NEAR(seen[3], 3000, 210);
}

TEST(Sampling, ADrawIsAFunctionOfSeedAndIndex) {
  const std::vector<double> logits(1000, 0.0);
  std::set<int32_t> tokens;
  for (const uint64_t seed : {1, 2, 3})
    for (int64_t i = 0; i < 10; ++i) {
      const Sampling sampling{.temperature = 1, .seed = seed};
      tokens.insert(draw(logits, sampling, i).token);
      EXPECT_EQ(draw(logits, sampling, i).token, draw(logits, sampling, i).token);
    }
  EXPECT_GE(tokens.size(), 25u);  // of 30 draws
}

TEST(Sampling, LogitsThatAreNotNumbersGiveAToken) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  for (const std::vector<double>& logits :
       {std::vector<double>{nan, nan, nan}, {1, nan, 2}, {infinity, 1, nan}, {-infinity, -infinity, -infinity}})
    for (const Sampling& sampling : {Sampling{.temperature = 0}, Sampling{}, Sampling{.top_p = 0.5}}) {
      const int32_t token = draw(logits, sampling, 0).token;
      EXPECT_TRUE(0 <= token && token < 3);
    }
}

}  // namespace
}  // namespace ropewalk
