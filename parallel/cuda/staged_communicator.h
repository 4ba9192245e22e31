// Device tensors through host memory, over any host communicator: for ranks that share a device, and where there is no
// NCCL. Sums are taken by the host, in rank order: the bits are those of the host's backends.
//
// What is sent is copied to pinned memory on a stream beside the kernels', then sent as the host does, and copied to
// the device behind what has arrived. An exchange is started on the host when its copies are done: at the latest before
// anything else is asked of a host communicator, so that all ranks start the same things in the same order.
#pragma once

#include "parallel/cuda/device_communicator.h"

namespace ROPEWALK_CUDA {

// Serves host tensors, and those of the runtime's device; one world for each rank. The runtime must outlive it.
std::shared_ptr<Communicator> make_staged_world(std::shared_ptr<Communicator> host, Runtime& runtime);

}  // namespace ROPEWALK_CUDA
