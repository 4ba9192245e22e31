// The benchmark's cases, by kind. A case owns its tensors, so only one case is created at a time.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/benchmark/measure.h"

namespace ropewalk::benchmark {

struct Entry {
  std::string name;
  std::string yardstick;       // the yardstick's name
  std::function<Case()> make;  // allocates the case's tensors
};

std::vector<Entry> attention_cases();
std::vector<Entry> product_cases();
std::vector<Entry> memory_cases();
std::vector<Entry> step_cases();

}  // namespace ropewalk::benchmark
