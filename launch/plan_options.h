// The options of `ropewalk plan` that describe the machines: memory of a rank, device, links.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/command_line.h"
#include "trainer/config/config.h"
#include "trainer/run/step_time.h"

namespace ropewalk {

// The bytes of "80GiB", "80 GB" or "512MiB". Throws ConfigurationError, which names `option`.
int64_t bytes_of_text(const std::string& option, const std::string& text);

// Turns "dp=1,cp=8" into --set assignments ("parallel.data_parallel=1", ...). An axis that is left out is 1. Throws
// ConfigurationError if the text is wrong.
std::vector<std::string> mesh_settings(const std::string& text);

// If `option` ("mesh") is given, which sets the three axes of the mesh: throws ConfigurationError if --set sets one,
// too.
void refuse_axes_in_set(const Arguments& arguments, const std::string& option);

struct Machine {
  std::optional<DeviceModel> device;  // nullopt: --device is not given, and this host has no GPU of a known name
  std::string device_source;          // where its figures come from: "data sheet", "this host: ...", ...
  std::string gpu_problem;            // why `device` is not this host's GPU; empty: it is, or no GPU was looked for
  LinkRates links;
  std::string links_source;  // the links with their bandwidth: "nvlink 450 GB/s within its host (usual for h100), ..."
  int64_t memory = 0;        // bytes of a rank's device, or of this host; 0: unknown
  bool memory_is_shared = false;  // `memory` is this host's; the ranks of a host share it
  std::string memory_source;

  int ranks_on_host(const MeshShape& mesh) const;
  int64_t memory_of_rank(const MeshShape& mesh) const;  // 0: unknown
  std::string memory_source_of(const MeshShape& mesh) const;
};

// The --set assignments that --device implies: parallel.device. Apply them before the user's, which override them.
std::vector<std::string> settings_of_device(const Arguments& arguments);

// Throws ConfigurationError for options that are wrong, alone or together with the configuration. With --device cpu
// this measures the host (host_speed.h).
Machine machine_of(const Arguments& arguments, const Config& config);

}  // namespace ropewalk
