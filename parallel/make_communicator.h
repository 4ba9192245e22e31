// The world of ranks that a program asks for by name.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace ropewalk {

enum class Transport {
  kSingle,  // this process alone
  kMpi,     // all processes of the MPI job; an MpiSession must live longer than the world
};

// One of the two places with conditional compilation. Waits longer than the deadline fail;
// hosts (every rank's, or none) are for their messages.
std::shared_ptr<Communicator> make_world(Transport transport, std::chrono::milliseconds deadline,
                                         const std::vector<std::string>& hosts = {});

}  // namespace ropewalk
