// Writes complete texts to standard output or to a file descriptor, and reports errors (a closed stream, a full disk).
#pragma once

#include <string>
#include <string_view>

namespace ropewalk {

// Writes all of the text to a file descriptor. Returns 0, or the errno of the write that failed.
int write_all(int file, std::string_view text);

// Writes all of the text to standard output. Throws std::runtime_error if that fails, so that exit code 0 means that
// redirected output is complete.
void print(const std::string& text);

}  // namespace ropewalk
