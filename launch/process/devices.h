// The devices that the ranks compute on: the summary and the warnings printed at the start of a run.
#pragma once

#include <string>
#include <vector>

#include "kernels/device.h"
#include "parallel/communicator/make_communicator.h"

namespace ropewalk {

struct DevicePlace {
  std::string host;
  DeviceStatus device;
  int64_t memory_needed = 0;  // device memory that the rank will need, in bytes
};

// Returns every rank's place, in order of rank, on rank 0; an empty list on other ranks. Collective.
std::vector<DevicePlace> gather_devices(Communicator& world, const DevicePlace& mine);

struct DeviceSummary {
  std::string text;                   // "8 x NVIDIA H100 80GB HBM3 with hopper attention"
  std::vector<std::string> warnings;  // too little memory, a build without the device's fastest kernels
};
// Throws ConfigurationError if ranks share a device and the transport does not allow it.
DeviceSummary summarize_devices(const std::vector<DevicePlace>& places, DeviceTransport transport);

}  // namespace ropewalk
