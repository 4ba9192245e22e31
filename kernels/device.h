// The device that holds a tensor or that a rank computes on.
#pragma once

#include <cstdint>
#include <string>

namespace ropewalk {

struct Device {
  enum class Kind { kHost, kCuda };
  Kind kind = Kind::kHost;
  int index = 0;
  bool operator==(const Device&) const = default;
};

// How a rank computes, as people read it.
struct Arithmetic {
  std::string text;     // "fp64", "fp32 (AVX2)", "bf16 on AMX"
  std::string refused;  // "AMX: ...": a faster unit that the system does not let the process use, and why; empty: none
};

// The state of a rank's device, if that is not the host.
struct DeviceStatus {
  std::string name;              // the vendor's name for it
  std::string id;                // equal for two ranks if, and only if, they share the device
  int64_t total_bytes = 0;       // of device memory
  int64_t available_bytes = 0;   // free now; other ranks on the device may take them
  std::string attention = {};    // the form in use, by name_of(AttentionForm)
  bool could_be_faster = false;  // a Hopper GPU, for which this build has no kernels
};

}  // namespace ropewalk
