#include "parallel/communicator/host_name.h"

#include <unistd.h>

namespace ropewalk {

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "this host";
}

}  // namespace ropewalk
