// The test suite of communicators is written once, on these functions; each *_worlds.cpp implements them for a
// transport.
#pragma once

#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/random.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

using RankBody = std::function<void(const std::shared_ptr<Communicator>& world)>;

// The sizes of worlds that this process can run; and some of them with more than one rank, for slow tests.
std::vector<int> world_sizes();
std::vector<int> world_sizes_with_peers();
// Whether sums are added in rank order, and bf16 in fp32.
bool sums_in_rank_order();
// Whether a blocking call overtakes a collective that was started before it and cannot complete yet.
bool starts_are_overtaken();
// Runs the body on every rank of a fresh world; under MPI this process is one of them.
void run_world(int size, const RankBody& body, std::chrono::milliseconds deadline = std::chrono::seconds(60));

// A host tensor over a vector, which must have that many elements.
template <typename T>
Tensor tensor_of(std::vector<T>& values, Shape shape) {
  CHECK(shape.elements() == static_cast<int64_t>(values.size()), "{} over {} values", shape.text(), values.size());
  return Tensor(values.data(), dtype_of<T>, Device{}, shape);
}
template <typename T>
Tensor tensor_of(std::vector<T>& values) {
  return tensor_of(values, {static_cast<int64_t>(values.size())});
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// The input of rank `rank`: integers, small enough for sums over 8 ranks to be exact in every type except bf16.
template <typename T>
std::vector<T> integers(int rank, int64_t count) {
  std::vector<T> out;
  out.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) out.push_back(static_cast<T>((i * 7 + rank * 131) % 1009 - 504));
  return out;
}

// Values of very different sizes, whose sum depends on the order of addition.
template <typename T>
std::vector<T> rough_values(int rank, int64_t count) {
  const RandomStream random(20240229, "rank " + std::to_string(rank));
  std::vector<T> out;
  for (int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<uint64_t>(i);
    out.push_back(static_cast<T>(random.normal(2 * index) * std::exp2(40.0 * random.uniform(2 * index + 1) - 20.0)));
  }
  return out;
}

// The sum in rank order, from left to right, of make(rank, count) over all ranks, in T.
template <typename T, typename Make>
std::vector<T> sum_in_rank_order(int ranks, int64_t count, Make make) {
  std::vector<T> sum = make(0, count);
  for (int rank = 1; rank < ranks; ++rank) {
    const std::vector<T> next = make(rank, count);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] = static_cast<T>(sum[i] + next[i]);
  }
  return sum;
}

// The message of the CommunicationError that the call throws, or "nothing was thrown".
std::string communication_error_of(const std::function<void()>& call);

}  // namespace ropewalk
