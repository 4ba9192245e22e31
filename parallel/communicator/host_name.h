// The name of this host, for error messages and logs.
#pragma once

#include <string>

namespace ropewalk {

std::string host_name();

}  // namespace ropewalk
