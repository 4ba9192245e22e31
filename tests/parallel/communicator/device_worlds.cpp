// Worlds of ranks with one device each. Device tensors go through host memory or, with DEVICE_NCCL, by NCCL.
#include <gtest/gtest.h>

#include "tests/parallel/communicator/mirrored_communicator.h"
#include "tests/parallel/communicator/worlds.h"
#include "tests/support/cuda/under_test.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

#ifdef DEVICE_NCCL
constexpr DeviceTransport kTransport = DeviceTransport::kNccl;
#else
constexpr DeviceTransport kTransport = DeviceTransport::kStaged;
#endif

}  // namespace

std::vector<int> world_sizes() { return {1, 2, 3, 5}; }
std::vector<int> world_sizes_with_peers() { return {2, 4}; }
bool sums_in_rank_order() { return kTransport != DeviceTransport::kNccl; }
bool starts_are_overtaken() {
  return false;
}  // by NCCL they are (nccl_test.cpp), but mirrors go when the device is idle

void run_world(int size, const RankBody& body, std::chrono::milliseconds deadline) {
  const std::string reason = why_no_ranks(size, kTransport);
  if (!reason.empty()) GTEST_SKIP() << reason;
  run_ranks(
      size,
      [&](const std::shared_ptr<Communicator>& host) {
        RankDevice device = make_rank_under_test(host, kTransport, {deadline});
        body(make_mirrored(std::move(device.kernels), std::move(device.world)));
      },
      deadline);
}

}  // namespace ropewalk
