// The world of ranks that a program asks for by name.
#pragma once

#include <memory>

#include "parallel/mpi_communicator.h"

namespace ropewalk {

enum class Transport {
  kSingle,  // this process alone
  kMpi,     // all processes of the MPI job; an MpiSession must live longer than the world
};

// The one place that knows which transports this build has.
std::shared_ptr<Communicator> make_world(Transport transport, const WorldOptions& options);

}  // namespace ropewalk
