// Runs small kernels on the emulated device, and returns their failures.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/block.h"
#include "kernels/cuda/hopper/proxy.h"
#include "kernels/cuda/hopper/registers.h"
#include "kernels/cuda/hopper/tensor_map.h"
#include "kernels/cuda/hopper/wgmma.h"
#include "kernels/cuda/tensor_core.h"

namespace ropewalk::cuda_emulated {

inline constexpr int kRuns = 24;  // of each kernel, with different random orders
inline constexpr const char* kDeadlock = "waits at a barrier that others do not come to";

inline int thread() { return static_cast<int>(threadIdx.x); }

// The message with which a kernel fails; empty if it does not fail.
inline std::string failure_of(unsigned threads, int64_t shared_bytes, const std::function<void()>& kernel,
                              unsigned blocks = 1) {
  try {
    simt::run({blocks, 1, 1}, {threads, 1, 1}, static_cast<size_t>(shared_bytes), kernel);
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return {};
}

// Expects that the kernel fails in every random order, with a message that contains `why`.
inline void expect_failure(const std::string& why, unsigned threads, int64_t shared_bytes,
                           const std::function<void()>& kernel) {
  for (int run = 0; run < kRuns; ++run) {
    const std::string failure = failure_of(threads, shared_bytes, kernel);
    ASSERT_NE(failure.find(why), std::string::npos) << "not '" << why << "' but '" << failure << "'";
  }
}

// In how many of kRuns runs is_right() returns true.
template <typename Run>
int times_right(const Run& is_right) {
  int count = 0;
  for (int run = 0; run < kRuns; ++run) count += is_right();
  return count;
}

// Small integers, so that sums of products are exact in any order.
inline std::vector<Bf16> small_integers(int count, int seed) {
  std::vector<Bf16> values;
  for (int i = 0; i < count; ++i)
    values.push_back(rounded<Bf16>(static_cast<float>((i * 11 + i / 13 * 5 + i / 64 * 3 + seed) % 7 - 3)));
  return values;
}

// The index of element (row, column) in a swizzled panel.
inline int in_panel(int row, int column) { return row * 64 + swizzled_piece(row, column / 8) * 8 + column % 8; }

}  // namespace ropewalk::cuda_emulated
