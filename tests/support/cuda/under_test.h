// The CUDA backend under test: on an emulated device (emulated.cpp) or on this host's GPUs (device.cpp).
#pragma once

#include <memory>
#include <string>

#include "kernels/make_kernels.h"
#include "parallel/communicator/make_communicator.h"
#include "tests/support/ranks.h"

namespace ropewalk {

// Null if the test needs a GPU, or a Hopper GPU, and the host has none.
std::unique_ptr<Kernels> make_cuda_under_test(const BackendOptions& options = {});

bool is_emulated();

// Why this host cannot run so many ranks with this transport; empty: it can.
std::string why_no_ranks(int ranks, DeviceTransport transport);
// A device for this rank of the `host` world, and a world for its tensors.
RankDevice make_rank_under_test(std::shared_ptr<Communicator> host, DeviceTransport transport,
                                const WorldOptions& options);

}  // namespace ropewalk
