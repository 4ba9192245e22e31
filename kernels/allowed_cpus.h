#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

namespace ropewalk {

// The CPUs in the affinity mask of a process (0: of this thread); nullopt if the mask cannot be read.
std::optional<std::vector<int>> affinity_of(pid_t process);

// The CPUs in this thread's affinity mask; all CPUs of the host if the mask cannot be read.
std::vector<int> allowed_cpus();

}  // namespace ropewalk
