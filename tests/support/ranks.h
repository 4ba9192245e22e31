// Runs a test's ranks as threads of this process.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "kernels/kernels.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// A rank's device, and the world communicator that transfers this device's tensors.
struct RankDevice {
  std::unique_ptr<Kernels> kernels;
  std::shared_ptr<Communicator> world;
};

// Calls `body` once per rank, each on its own thread and with its own communicator, and returns when all have finished.
// If a rank throws or fails a fatal assertion, waits on the other ranks throw too. At the end run_ranks rethrows the
// earliest exception, unless a fatal assertion has failed. The body may use GoogleTest's assertions, but not
// GTEST_SKIP.
void run_ranks(int size, const std::function<void(const std::shared_ptr<Communicator>& world)>& body,
               std::chrono::milliseconds deadline = std::chrono::seconds(60));

}  // namespace ropewalk
