#include "launch/output.h"

#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace ropewalk {

void print(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      throw std::runtime_error("cannot write to standard output: " + std::generic_category().message(errno));
    done += static_cast<size_t>(count);
  }
}

}  // namespace ropewalk
