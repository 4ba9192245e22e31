// What a resumed run does differently from the one that wrote its checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// One line for each field in which two resolved configurations differ: "changed since the checkpoint: training.steps:
// 100 -> 200". Fields of parallel, output and checkpoint are not reported. A line is a warning if the field changes the
// function that the model computes or the order of samples; for a field of a stage, only if the stage had begun by the
// checkpoint's step, `step`. If either text cannot be read, the result is one line that says so.
std::vector<std::string> config_changes(const std::string& before, const std::string& after, int64_t step);

}  // namespace ropewalk
