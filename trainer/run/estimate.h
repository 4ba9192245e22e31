// What a rank will need, known before anything is launched. The work itself is gone through, on a device and
// communicators that only count (CountingBackend, CountingCommunicator): the estimate is what the code does.
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
  kInference,  // a forward pass of one micro-batch, by a rank that holds the weights only
};

struct StepEstimate {
  MemoryUse memory;
  int64_t program_bytes = 0;  // libraries, and MPI where the job has several ranks: measured once, not counted
  int64_t batch_bytes = 0;    // the sequences, in host memory
  int64_t message_bytes = 0;  // scratch of sums over ranks in host memory; 0 where a GPU sums
  int64_t tokens = 0;         // of a micro-batch, here: what the activations are of
  std::vector<std::pair<std::string, int64_t>> bytes_sent;  // by axis; payload
  std::vector<std::vector<int64_t>> collective_bytes;       // by axis, and by rank of its group: sent in collectives
  Flops flops;                                              // what is recomputed counts again
  FlopCount memory_traffic = 0;                             // bytes read and written by operations that memory bounds
  double model_flops = 0;  // this rank's share of the model's own, where nothing counts twice
  double activation_bytes_per_token() const {
    return tokens > 0 ? static_cast<double>(memory.activations) / static_cast<double>(tokens) : 0;
  }
};

int64_t process_bytes(const StepEstimate& estimate);  // a rank's process at its peak, approximately

// Of a step, or a pass, of `stage` on one rank of config.parallel.mesh. Every sequence is one document: with more of
// them, less is sent and computed. Throws ConfigurationError for a mesh that cannot be.
StepEstimate estimate_step(const Config& config, const Stage& stage, int rank, Purpose purpose = Purpose::kTraining);

// What a job reserves at its start, after `steps_done` steps of the run: to train, for the stage that needs the largest
// arena, of those to come that fit the mesh; to infer, for the present one.
StepEstimate estimate_run(const Config& config, int rank, Purpose purpose = Purpose::kTraining, int64_t steps_done = 0);

}  // namespace ropewalk
