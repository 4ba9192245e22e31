// Where a tensor's bytes are.
#pragma once

namespace ropewalk {

struct Device {
  enum class Kind { kHost, kCuda };
  Kind kind = Kind::kHost;
  int index = 0;
  bool operator==(const Device&) const = default;
};

}  // namespace ropewalk
