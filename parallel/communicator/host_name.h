// The name of this host, for messages.
#pragma once

#include <string>

namespace ropewalk {

std::string host_name();

}  // namespace ropewalk
