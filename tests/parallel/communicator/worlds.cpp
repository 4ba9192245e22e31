#include "tests/parallel/communicator/worlds.h"

namespace ropewalk {

std::string communication_error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const CommunicationError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace ropewalk
