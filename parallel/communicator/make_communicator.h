// Creates the communicator of all ranks. The only place that knows which transports this build has.
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
  kNccl,    // from device to device; every rank needs its own device
  kStaged,  // through host memory
};

// A world of the same ranks that also serves tensors of the kernels' device; returns `host` if the kernels run on the
// CPU. The kernels must outlive it. Collective. Throws ConfigurationError if NCCL is chosen and this build has none.
std::shared_ptr<Communicator> make_device_world(std::shared_ptr<Communicator> host, Kernels& kernels,
                                                DeviceTransport transport, const WorldOptions& options);

}  // namespace ropewalk
