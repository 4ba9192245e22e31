#include "kernels/error.h"

namespace ropewalk {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  throw std::logic_error(
      fmt::format("{}:{}: {} (expected {}). This is a bug in ropewalk.", file, line, message, condition));
}

}  // namespace ropewalk
