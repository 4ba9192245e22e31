// Ranks as threads of one process: each has its own kernels, starts no threads, and computes the same bits as it would
// alone.
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "kernels/make_kernels.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

int threads_of_this_process() {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;)
    if (int count = 0; key == "Threads:" && status >> count) return count;
  return -1;
}

// A product and attention; returns the bits.
std::vector<float> compute() {
  const auto kernels = make_kernels(BackendKind::kCpu);
  const std::vector<double> numbers = normal_values(256 * 256, "numbers");
  std::vector<float> x(numbers.begin(), numbers.end()), w = x, y(256 * 256), lse(1024, -INFINITY);
  kernels->linear_forward(tensor_of(x, {256, 256}), tensor_of(w, {256, 256}), tensor_of(y, {256, 256}), Write::kSet);
  std::vector<float> o(256 * 256, 0);
  kernels->attention_forward(tensor_of(x, {256, 4, 64}), tensor_of(w, {256, 4, 64}), tensor_of(y, {256, 4, 64}), {},
                             tensor_of(o, {256, 4, 64}), tensor_of(lse, {256, 4}));
  y.insert(y.end(), o.begin(), o.end());
  return y;
}

TEST(CpuRankThreads, ComputeOnTheirOwnThreadOnly) {
  const int before = threads_of_this_process();
  ASSERT_GT(before, 0);
  compute();
  EXPECT_EQ(threads_of_this_process(), before) << "the backend started threads of its own";
}

TEST(CpuRankThreads, GetTheSameBitsTogetherAsAlone) {
  const std::vector<float> alone = compute();
  EXPECT_EQ(compute(), alone) << "the same call twice";
  std::vector<std::vector<float>> together(4);
  std::vector<std::thread> ranks;
  for (auto& result : together) ranks.emplace_back([&result] { result = compute(); });
  for (std::thread& rank : ranks) rank.join();
  for (const auto& result : together) EXPECT_EQ(result, alone);
}

}  // namespace
}  // namespace ropewalk
