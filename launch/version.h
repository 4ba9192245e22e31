// What this program is, in one line.
#pragma once

#include <string>

namespace ropewalk {

// "ropewalk 0.1.0 (commit 1a2b3c4, Release, GNU 12.2.0)" and a line's end. A commit with changes on top is "1a2b3c4,
// modified"; one that the build could not tell, as of a source archive, is "unknown".
std::string version_text();

}  // namespace ropewalk
