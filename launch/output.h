// What a verb was asked to tell, on standard output.
#pragma once

#include <string>

namespace ropewalk {

// All of it, or an exception that says why not: who reads a file must be able to trust exit code 0.
void print(const std::string& text);

}  // namespace ropewalk
