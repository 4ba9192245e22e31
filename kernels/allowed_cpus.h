// The CPUs of this process.
#pragma once

#include <vector>

namespace ropewalk {

std::vector<int> allowed_cpus();  // of its affinity mask

}  // namespace ropewalk
