// Where a tensor's bytes are, and what a rank computes on.
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

// What a rank computes on, where that is not the host.
struct DeviceStatus {
  std::string name;              // as its maker calls it
  std::string id;                // the same for two ranks if, and only if, they share the device
  int64_t total_bytes = 0;       // of its memory
  int64_t available_bytes = 0;   // now, to whoever asks first
  std::string attention = {};    // the form of its kernels (AttentionForm)
  bool could_be_faster = false;  // a Hopper in a build without kernels for it
};

}  // namespace ropewalk
