#include "launch/process/inherited.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace ropewalk {

namespace {

// open() returns the lowest free descriptor: `file`, if all below it are open.
void open_if_closed(int file, int way) {
  if (fcntl(file, F_GETFD) == -1 && open("/dev/null", way) != file) std::_Exit(EXIT_FAILURE);
}

}  // namespace

void mend_inheritance() {
  open_if_closed(STDIN_FILENO, O_RDONLY);
  open_if_closed(STDOUT_FILENO, O_RDONLY);  // so that writing fails
  open_if_closed(STDERR_FILENO, O_WRONLY);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace ropewalk
