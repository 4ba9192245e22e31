// What a process takes over from whoever started it, and what of it must not be so.
#pragma once

namespace ropewalk {

// To be called first in main, while nothing is open and no signal is handled:
// - Standard files that are closed are opened, so that no file of ours becomes one of them, with log lines among its
//   data. Such an input is empty; writing such an output still fails (EBADF), because a verb's result is not to vanish.
// - Signals that are blocked would never stop a run: none is.
// - A file beyond the limit of its size (ulimit -f) is an error of its write (EFBIG), like a full disk, not a SIGXFSZ
//   that kills.
void mend_inheritance();

}  // namespace ropewalk
