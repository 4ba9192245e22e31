// Device tensors through host memory, over any host communicator: for ranks that share a device, and for builds without
// NCCL. The host sums in rank order: results have the same bits as those of host tensors.
//
// A stream beside the kernels' stream copies the data to be sent to pinned memory, the host communicator exchanges it,
// and the same stream copies the received data to the device. An exchange starts on the host when its copies to the
// host are complete. Any other call of a host communicator first waits for these copies and starts all pending
// exchanges, so all ranks start the same calls in the same order.
#pragma once

#include "parallel/cuda/device_communicator.h"

namespace ROPEWALK_CUDA {

// Serves host tensors, and those of the runtime's device. One world per rank; the runtime must outlive the world.
std::shared_ptr<Communicator> make_staged_world(std::shared_ptr<Communicator> host, Runtime& runtime);

}  // namespace ROPEWALK_CUDA
