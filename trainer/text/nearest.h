// "Did you mean ...": the known name nearest to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ropewalk {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string alignment).
int edit_distance(std::string_view a, std::string_view b);

// The candidate with the smallest distance, if that is at most a third of its length (and at least 1 is allowed); else
// "".
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

}  // namespace ropewalk
