// Runs a test's ranks as threads of this process.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "kernels/kernels.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// A rank's device, and a world of ranks that serves its tensors.
struct RankDevice {
  std::unique_ptr<Kernels> kernels;
  std::shared_ptr<Communicator> world;
};

// Calls body once per rank, each on a thread of its own with its communicator, and returns when all have finished. When
// one throws, or fails a fatal assertion, the others' waits throw too, and what the first one threw is thrown here.
// Assertions of GoogleTest may be used in the body; skipping may not.
void run_ranks(int size, const std::function<void(const std::shared_ptr<Communicator>& world)>& body,
               std::chrono::milliseconds deadline = std::chrono::seconds(60));

}  // namespace ropewalk
