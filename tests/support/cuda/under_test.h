// The CUDA backend that a test program tests: on an emulated device (emulated.cpp) or on this host's devices
// (device.cpp).
#pragma once

#include <memory>
#include <string>

#include "kernels/make_kernels.h"
#include "parallel/communicator/make_communicator.h"
#include "tests/support/ranks.h"

namespace ropewalk {

// Null if it needs a device and there is none that it can use.
std::unique_ptr<Kernels> make_cuda_under_test(const BackendOptions& options = {});

bool is_emulated();

// The reason why this host cannot run `ranks` ranks with this transport; empty if it can.
std::string why_no_ranks(int ranks, DeviceTransport transport);
// Makes the device, kernels and communicator of this rank of the host's world.
RankDevice make_rank_under_test(std::shared_ptr<Communicator> host, DeviceTransport transport,
                                const WorldOptions& options);

}  // namespace ropewalk
