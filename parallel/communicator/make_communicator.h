// The world of ranks that a program asks for by name: the one place that knows which transports this build has.
#pragma once

#include <memory>

#include "kernels/kernels.h"
#include "parallel/communicator/mpi_communicator.h"

namespace ropewalk {

enum class Transport {
  kSingle,  // this process alone
  kMpi,     // all processes of the MPI job; an MpiSession must live longer than the world
};

std::shared_ptr<Communicator> make_world(Transport transport, const WorldOptions& options);

enum class DeviceTransport {
  kNccl,    // from device to device; each rank has its own
  kStaged,  // through host memory
};

// The same ranks, whose tensors of the kernels' device are served too; `host` itself where that is the host. The
// kernels must outlive it. Collective. Throws ConfigurationError where this build has no NCCL.
std::shared_ptr<Communicator> make_device_world(std::shared_ptr<Communicator> host, Kernels& kernels,
                                                DeviceTransport transport, const WorldOptions& options);

}  // namespace ropewalk
