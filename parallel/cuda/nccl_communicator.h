// Device tensors by NCCL, a device for each rank. All groups of a rank give what is needed now to one stream beside the
// kernels', so that every rank does the same things in the same order, and none waits for one that cannot begin. What
// is needed later has a second stream, which ranks may be at in different orders relative to the first: a device must
// have room for a kernel of NCCL's from each at a time (it has, but perhaps on a small slice of one). Calls of one
// group keep their order in both. Events order these streams and the kernels', and the host goes on.
//
// NCCL adds in an order of its own, and may round bf16 at each addition. Sizes that do not match between ranks are not
// told of by NCCL, which waits, or moves what it was not meant to.
//
// A device that waits for a peer in vain waits for ever. So the host, whenever it waits for the device (and it never
// lets it fall far behind), looks at what is under way (Runtime::set_watch): where NCCL tells of an error, a deadline
// has passed or the job is ending, all of this rank's NCCL is aborted, which frees the device, and a PeerError, shown
// to WorldOptions::on_failure first, says what could not be finished.
#pragma once

#include "parallel/communicator/mpi_communicator.h"
#include "parallel/cuda/device_communicator.h"

namespace ROPEWALK_CUDA {

// Serves host tensors by `host`, and those of the runtime's device. Collective; one world for each rank. The runtime
// must outlive it. Throws CommunicationError where NCCL finds no way between the devices.
std::shared_ptr<Communicator> make_nccl_world(std::shared_ptr<Communicator> host, Runtime& runtime,
                                              const WorldOptions& options);

}  // namespace ROPEWALK_CUDA
