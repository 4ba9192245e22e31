#include "launch/version.h"

#include <fmt/format.h>

#include "launch/commit.h"

namespace ropewalk {

std::string version_text() {
  return fmt::format("ropewalk {} (commit {}, {}, {})\n", ROPEWALK_VERSION, ROPEWALK_COMMIT, ROPEWALK_BUILD_TYPE,
                     ROPEWALK_COMPILER);
}

}  // namespace ropewalk
