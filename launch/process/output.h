// What a verb was asked to tell, on standard output; and how text goes to a stream that may be gone.
#pragma once

#include <string>
#include <string_view>

namespace ropewalk {

// All of the text to a file descriptor. Returns 0, or the error that came in between.
int write_all(int file, std::string_view text);

// All of it, or an exception that says why not: who reads a file must be able to trust exit code 0.
void print(const std::string& text);

}  // namespace ropewalk
