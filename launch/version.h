// The line that `ropewalk --version` prints.
#pragma once

#include <string>

namespace ropewalk {

// "ropewalk 0.1.0 (commit 1a2b3c4, Release, GNU 12.2.0)" and a newline. The commit is "1a2b3c4, modified" if tracked
// files were changed, and "unknown" if the build found none (a source archive).
std::string version_text();

}  // namespace ropewalk
