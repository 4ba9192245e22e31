// This host, as messages call it.
#pragma once

#include <string>

namespace ropewalk {

std::string host_name();

}  // namespace ropewalk
