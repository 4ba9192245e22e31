// The instruction sets for which kernels/CMakeLists.txt compiles the cpu backend: Highway's targets.
#pragma once

#include <cstdint>
#include <vector>

namespace ropewalk {

std::vector<int64_t> instruction_sets();  // that this machine supports

// From now on the process's kernels use this one; 0: the best.
void use_instruction_set(int64_t set);

}  // namespace ropewalk
