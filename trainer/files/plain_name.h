// Names of files that come from other files.
#pragma once

#include <string_view>

namespace ropewalk {

// Whether it names a file in a directory and cannot lead out of it; hidden names do not count.
inline bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

}  // namespace ropewalk
