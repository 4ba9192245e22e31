// Formats the estimate of a rank's memory, FLOPs and bytes sent, as text for people and as JSON for scripts.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/run/mesh_estimate.h"

namespace ropewalk {

// A line for the start of a run: "812 MiB: weights 120 MiB, ...".
std::string memory_line(const StepEstimate& estimate);

std::string estimate_table(const MeshEstimate& estimate, const Config& config, Purpose purpose);
// An object with an entry for each stage; numbers in bytes and FLOP.
std::string estimate_json(const std::vector<MeshEstimate>& stages, const Config& config, Purpose purpose);

}  // namespace ropewalk
