#include "launch/process/output.h"

#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace ropewalk {

int write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return 0;
}

void print(const std::string& text) {
  if (const int error = write_all(STDOUT_FILENO, text))
    throw std::runtime_error("cannot write to standard output: " + std::generic_category().message(error));
}

}  // namespace ropewalk
