#pragma once

#include <vector>

namespace ropewalk {

// The CPUs in this thread's affinity mask; all CPUs of the host if the mask cannot be read.
std::vector<int> allowed_cpus();

}  // namespace ropewalk
