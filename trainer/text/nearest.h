// "Did you mean ...": the known name nearest to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ropewalk {

// The fewest insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string
// alignment).
int edit_distance(std::string_view a, std::string_view b);

// The candidate with the smallest edit distance, among those whose distance is at most max(1, candidate length / 3);
// "" if there is none, or if `name` is longer than 64 bytes.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

}  // namespace ropewalk
