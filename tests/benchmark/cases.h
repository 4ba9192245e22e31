// What is measured, by kind. A case keeps its tensors alive; they are made when it is, so cases are made one at a time.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/benchmark/measure.h"

namespace ropewalk::benchmark {

struct Entry {
  std::string name;
  std::string yardstick;  // its name
  std::function<Case()> make;
};

std::vector<Entry> attention_cases();
std::vector<Entry> product_cases();
std::vector<Entry> memory_cases();
std::vector<Entry> step_cases();

}  // namespace ropewalk::benchmark
