// Device tensors over NCCL, one device per rank. All groups of a rank enqueue what is needed now on one stream beside
// the kernels', so that every rank executes the same calls in the same order and no call blocks one that another rank
// waits for. What is needed later has a second stream, whose order relative to the first may differ between ranks: a
// device must have room for one NCCL kernel of each at a time (it has, but perhaps not on a small MIG slice). Calls of
// one group keep their order across both. Events order these streams and the kernels', and the host does not block.
//
// NCCL adds in an order of its own, and may round bf16 at each addition. It does not detect sizes that differ between
// ranks: it hangs, or moves the wrong bytes.
//
// A device that waits for a dead peer would wait for ever. So whenever the host waits for the device (and it never lets
// it fall far behind), it checks the outstanding calls (Runtime::set_watch): where NCCL reports an error, a deadline
// has passed or the job is ending, it aborts all of this rank's NCCL groups, which frees the device. Then it throws a
// PeerError that names the call, and shows it to WorldOptions::on_failure first. Where NCCL finds no room for its
// buffers, it throws OutOfMemory: the peers are well.
#pragma once

#include "parallel/communicator/mpi_communicator.h"
#include "parallel/cuda/device_communicator.h"

namespace ROPEWALK_CUDA {

// `host` serves host tensors, NCCL those of the runtime's device. Collective; one world per rank. The runtime must
// outlive it. Throws CommunicationError where NCCL finds no connection between the devices.
std::shared_ptr<Communicator> make_nccl_world(std::shared_ptr<Communicator> host, Runtime& runtime,
                                              const WorldOptions& options);

}  // namespace ROPEWALK_CUDA
