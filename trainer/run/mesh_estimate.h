// What all ranks of a mesh will need for a step: the largest, the busiest, and what they send together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/run/estimate.h"

namespace ropewalk {

struct MeshEstimate {
  StepEstimate fullest;  // the rank whose process needs most memory
  int fullest_rank = 0;
  struct Sent {
    std::string axis;
    int64_t most = 0, all = 0;  // bytes: by the rank that sends most, by all ranks
  };
  std::vector<Sent> bytes_sent;
  Flops busiest;                 // the rank with most arithmetic
  FlopCount memory_traffic = 0;  // bytes, of the rank that reads and writes most
  double mean_flops = 0;         // of a rank
};

MeshEstimate estimate_mesh(const Config& config, const Stage& stage, Purpose purpose);

}  // namespace ropewalk
