// Which devices the ranks compute on; told at the start of a run, with what looks wrong.
#pragma once

#include <string>
#include <vector>

#include "kernels/device.h"
#include "parallel/communicator/make_communicator.h"

namespace ropewalk {

struct DevicePlace {
  std::string host;
  DeviceStatus device;
  int64_t memory_needed = 0;  // of the device, by the rank, in bytes
};

// Every rank's, in order of rank, on rank 0; nothing elsewhere. Collective.
std::vector<DevicePlace> gather_devices(Communicator& world, const DevicePlace& mine);

struct DeviceSummary {
  std::string text;                   // "8 x NVIDIA H100 80GB HBM3 with hopper attention"
  std::vector<std::string> warnings;  // too little memory, kernels that are not the device's fastest
};
// Throws ConfigurationError where ranks share a device and the transport does not allow it.
DeviceSummary summarize_devices(const std::vector<DevicePlace>& places, DeviceTransport transport);

}  // namespace ropewalk
