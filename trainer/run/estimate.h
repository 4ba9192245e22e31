// What a rank will need, before anything is launched. The estimate is a dry run: the code of the real step runs on a
// backend and communicators that only count (CountingBackend, CountingCommunicator).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/counting_backend.h"
#include "trainer/config/config.h"
#include "trainer/trainer.h"

namespace ropewalk {

enum class Purpose {
  kTraining,   // an optimizer step
  kInference,  // a forward pass of one micro-batch, on a rank without gradients and optimizer state
};

inline double number(FlopCount count) { return static_cast<double>(count); }

struct StepEstimate {
  MemoryUse memory;
  int64_t program_bytes = 0;  // libraries, and MPI if there are several ranks: a constant, measured once
  int64_t batch_bytes = 0;    // the sequences, in host memory
  int64_t message_bytes = 0;  // host scratch of reductions over ranks; 0 with the CUDA backend
  int64_t tokens = 0;         // of a micro-batch on this rank; memory.activations is for these
  std::vector<std::pair<std::string, int64_t>> bytes_sent;  // by axis: payload
  std::vector<std::vector<int64_t>> collective_bytes;       // [axis][rank in its group], by collectives
  Flops flops;                                              // hardware FLOPs: includes recomputation
  FlopCount memory_traffic = 0;                             // bytes read and written by memory-bound operations
  double model_flops = 0;  // this rank's equal share of the model FLOPs: without recomputation, for MFU
  double activation_bytes_per_token() const {
    return tokens > 0 ? static_cast<double>(memory.activations) / static_cast<double>(tokens) : 0;
  }
};

int64_t process_bytes(const StepEstimate& estimate);  // approximate peak memory of a rank's process

// Estimates one optimizer step (or forward pass) of `stage` on one rank of config.parallel.mesh. The memory of a step
// is also enough for the run's sample of text; nothing else of the sample counts. Assumes one document per sequence;
// packed documents send and compute less. Throws ConfigurationError if the mesh is invalid.
StepEstimate estimate_step(const Config& config, const Stage& stage, int rank, Purpose purpose = Purpose::kTraining);

// The estimate that decides how much memory a job reserves if it starts after `steps_done` steps. Training: the
// estimate with the largest arena, among the current and the later stages that fit the mesh. Inference: the estimate of
// the current stage.
StepEstimate estimate_run(const Config& config, int rank, Purpose purpose = Purpose::kTraining, int64_t steps_done = 0);

}  // namespace ropewalk
