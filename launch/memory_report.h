// The memory of a rank by kind, for the reports of a plan and the start of a run.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/run/estimate.h"

namespace ropewalk {

// A kind of memory: its name in tables, and its key in JSON.
struct MemoryLine {
  const char *name, *key;
  int64_t bytes;
  std::string remark = {};
  bool on_host = false;  // the rank is on a GPU, but this memory is on the host
};

// All kinds. A rank on a GPU has kinds of its own: what CUDA and NCCL take.
std::vector<MemoryLine> memory_lines(const StepEstimate& estimate, const Config& config);
// The kinds in the memory of the rank's device, without those of 0 bytes. Their sum is needed_bytes().
std::vector<MemoryLine> device_lines(const StepEstimate& estimate, const Config& config);

// Bytes of host memory that a rank on a GPU needs, not counting CUDA's libraries; 0 on a CPU.
int64_t host_bytes(const StepEstimate& estimate, const Config& config);

// One line, for the start of a run: "812 MiB: weights 120 MiB, ...".
std::string memory_line(const StepEstimate& estimate, const Config& config);

}  // namespace ropewalk
