// The CUDA backend that a test program is about: on an emulated device (emulated.cpp), or on the devices of this host
// (device.cpp).
#pragma once

#include <memory>
#include <string>

#include "kernels/make_kernels.h"
#include "parallel/communicator/make_communicator.h"
#include "tests/support/ranks.h"

namespace ropewalk {

// Null where it needs a device and there is none that it can use.
std::unique_ptr<Kernels> make_cuda_under_test(const BackendOptions& options = {});

bool is_emulated();

// Why there cannot be so many ranks with devices that speak so; empty: there can.
std::string why_no_ranks(int ranks, DeviceTransport transport);
// A rank of the host's world, with its device.
RankDevice make_rank_under_test(std::shared_ptr<Communicator> host, DeviceTransport transport,
                                const WorldOptions& options);

}  // namespace ropewalk
