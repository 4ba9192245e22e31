// What a training step will take on a rank, known before it is run. The step itself is gone through, on a device and
// communicators that do nothing but count (CountingBackend, CountingCommunicator): the plan is what the code does.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/counting_backend.h"
#include "trainer/config/config.h"
#include "trainer/trainer.h"

namespace ropewalk {

struct StepEstimate {
  MemoryUse memory;
  int64_t batch_bytes = 0;                                  // the step's sequences, on the host
  int64_t tokens = 0;                                       // of a micro-batch, here: what the activations are of
  std::vector<std::pair<std::string, int64_t>> bytes_sent;  // by axis; payload
  CountingBackend::Flops flops;                             // what is recomputed counts again
  double model_flops = 0;  // this rank's share of step_flops(), where nothing counts twice
  double activation_bytes_per_token() const {
    return tokens > 0 ? static_cast<double>(memory.activations) / static_cast<double>(tokens) : 0;
  }
};

// Of a step of `stage` on one rank of config.parallel.mesh. Every sequence is one document: with more of them, less is
// sent and computed. Throws ConfigurationError for a mesh that cannot be.
StepEstimate estimate_step(const Config& config, const Stage& stage, int rank);

// Of the stage whose step needs the largest arena, of those that fit the mesh: what a run reserves at its start.
StepEstimate estimate_run(const Config& config, int rank);

}  // namespace ropewalk
