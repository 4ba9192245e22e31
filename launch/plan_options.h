// The machines that `ropewalk plan` plans for: memory of a rank, device, links.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/command_line.h"
#include "trainer/config/config.h"
#include "trainer/run/step_time.h"

namespace ropewalk {

// "80GiB", "80 GB", "512MiB" as bytes; throws ConfigurationError naming `option`.
int64_t bytes_of_text(const std::string& option, const std::string& text);

// "dp=1,cp=8" as settings of the fields; axes that are left out are 1. Throws ConfigurationError.
std::vector<std::string> mesh_settings(const std::string& text);

struct Machine {
  std::optional<DeviceModel> device;  // absent: not given, and not known by what is here
  std::string device_source;          // how it is known: "--device", "the GPU of this host", ...
  int64_t memory = 0;                 // bytes for a rank; 0: not known
  std::string memory_source;
  LinkRates links;
  std::string links_source;  // "--links", "usual links of an h100: ..."
};

// Settings that --device implies: parallel.device. They come before the user's.
std::vector<std::string> settings_of_device(const Arguments& arguments);

// Throws ConfigurationError for options that make no sense, alone or with the configuration.
Machine machine_of(const Arguments& arguments, const Config& config);

}  // namespace ropewalk
