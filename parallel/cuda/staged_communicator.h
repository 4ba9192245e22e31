// Device tensors through host memory, over any host communicator: for ranks that share a device, and where there is no
// NCCL. The host takes sums in rank order: the bits are those of the CPU backends.
//
// A stream beside the kernels' copies what is sent to pinned memory, the host communicator exchanges it, and the same
// stream copies what has arrived to the device. An exchange starts on the host when its copies are complete: at the
// latest before any other call of a host communicator, so that all ranks start the same calls in the same order.
#pragma once

#include "parallel/cuda/device_communicator.h"

namespace ROPEWALK_CUDA {

// Serves host tensors, and those of the runtime's device. One world per rank; the runtime must outlive it.
std::shared_ptr<Communicator> make_staged_world(std::shared_ptr<Communicator> host, Runtime& runtime);

}  // namespace ROPEWALK_CUDA
