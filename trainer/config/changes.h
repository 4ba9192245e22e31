// What a resumed run does differently from the one that wrote its checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// One line for each field in which two resolved configurations differ: "changed since the checkpoint: training.steps:
// 100 -> 200". Fields of parallel, output and checkpoint, and training.start_from, are not reported. The line begins
// with "warning: " for fields of model, data, training.batch and training.seed, and for fields of a stage (except
// micro_batch) that began before the checkpoint's step, `step`. If either text cannot be read, the result is one line
// that says so.
std::vector<std::string> config_changes(const std::string& before, const std::string& after, int64_t step);

}  // namespace ropewalk
