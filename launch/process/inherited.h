// Corrects state that the process inherits from its parent: open files and signals.
#pragma once

namespace ropewalk {

// Must be called first in main, before any file is opened or signal handled:
// - Opens /dev/null for each of stdin, stdout and stderr that is closed. Otherwise a data file could get descriptor 1
//   or 2, and log lines would be written into it. A replaced stdin is empty, and a replaced stderr discards everything.
//   A replaced stdout is read-only: every write to it fails (EBADF), so that a verb's result is not lost silently.
// - Unblocks all signals, because a blocked signal could never stop a run.
// - Ignores SIGXFSZ, so that a write beyond the file size limit (ulimit -f) fails with EFBIG, like a full disk, instead
//   of killing the process.
void mend_inheritance();

}  // namespace ropewalk
