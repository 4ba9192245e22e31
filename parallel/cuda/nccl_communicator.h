// Device tensors over NCCL, one device per rank. All groups of a rank enqueue the calls whose results are needed now on
// one stream, beside the kernels' stream. Every rank executes these calls in the same order, so they cannot deadlock.
// Calls whose results are needed later use a second stream. Ranks may interleave the two streams differently, so a
// device must be able to run one NCCL kernel of each at the same time. (It can, except perhaps on a small MIG slice.)
// Calls of one group keep their order across both streams. Events order these streams and the kernels', and the host
// does not block.
//
// NCCL chooses the order of additions, and may round to bf16 at each addition. It does not detect sizes that differ
// between ranks: it hangs, or moves the wrong bytes.
//
// A device that waits for a dead peer would wait for ever. So the host checks the outstanding calls whenever it waits
// for the device (Runtime::set_watch), and it never runs far ahead of the device. If NCCL reports an error, a deadline
// has passed or the job is ending, the host aborts all of this rank's NCCL communicators, which frees the device. Then
// it makes a PeerError whose message names the call, passes it to WorldOptions::on_failure, and throws it. If NCCL
// cannot allocate its buffers, the host throws OutOfMemory instead, since no peer has failed.
#pragma once

#include "parallel/communicator/mpi_communicator.h"
#include "parallel/cuda/device_communicator.h"

namespace ROPEWALK_CUDA {

// `host` serves host tensors, NCCL those of the runtime's device. Collective; one world per rank. The runtime must
// outlive the world. Throws CommunicationError if NCCL cannot connect the devices.
std::shared_ptr<Communicator> make_nccl_world(std::shared_ptr<Communicator> host, Runtime& runtime,
                                              const WorldOptions& options);

}  // namespace ROPEWALK_CUDA
