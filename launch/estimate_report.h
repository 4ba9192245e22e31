// What a rank will need, as people and scripts read it.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/run/estimate.h"

namespace ropewalk {

// What the program itself takes on a rank besides an estimate's memory: libraries, MPI, message buffers. An estimate.
constexpr int64_t kProgramBytes = 28 << 20;

int64_t process_bytes(const StepEstimate& estimate);  // of a rank's process at its fullest, about

// A line for the start of a run: "812 MiB: weights 120 MiB, ...".
std::string memory_line(const StepEstimate& estimate);

// A step of a stage on all ranks of the mesh that do different work: the fullest and the busiest of them.
struct MeshEstimate {
  StepEstimate fullest;
  int fullest_rank = 0;
  struct Sent {
    std::string axis;
    int64_t most = 0, all = 0;  // by the rank that sends most, by all ranks
  };
  std::vector<Sent> bytes_sent;
  Flops busiest;
  double mean_flops = 0;  // of a rank
};
MeshEstimate estimate_mesh(const Config& config, const Stage& stage, Purpose purpose);

std::string estimate_table(const MeshEstimate& estimate, const Config& config, Purpose purpose);
// An object with an entry for each stage; numbers in bytes and FLOP.
std::string estimate_json(const std::vector<MeshEstimate>& stages, const Config& config, Purpose purpose);

}  // namespace ropewalk
