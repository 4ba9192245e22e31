// What a resumed run does differently from the one that wrote its checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// A line for each field in which two resolved configurations differ: "changed since the checkpoint: training.steps:
// 100 -> 200". Fields that change what was learned or which samples come next are told as warnings; those of a stage
// are such if it had begun after `step` steps, the checkpoint's. Where `before` is no configuration, one line says so.
std::vector<std::string> config_changes(const std::string& before, const std::string& after, int64_t step);

}  // namespace ropewalk
