// The benchmark's cases, by kind. A case owns its tensors, so only one case is created at a time.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/make_kernels.h"
#include "tests/benchmark/measure.h"

namespace ropewalk::benchmark {

struct Entry {
  std::string name;
  std::string yardstick;       // the yardstick's name
  std::function<Case()> make;  // allocates the case's tensors
};

// Every case exists in fp32 and, with a prefix to its name, in bf16.
inline constexpr BackendKind kPrecisions[] = {BackendKind::kCpu, BackendKind::kCpuBF16};
inline const char* prefix_of(BackendKind backend) { return backend == BackendKind::kCpu ? "" : "bf16 "; }
// What products and attention are compared with.
inline const char* yardstick_of(BackendKind backend) { return backend == BackendKind::kCpu ? "fma" : "bf16 peak"; }

std::vector<Entry> attention_cases();
std::vector<Entry> product_cases();
std::vector<Entry> memory_cases();
std::vector<Entry> step_cases();

}  // namespace ropewalk::benchmark
