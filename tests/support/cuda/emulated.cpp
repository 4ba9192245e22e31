#include "kernels/cuda/cuda_backend.h"
#include "parallel/cuda/nccl_communicator.h"
#include "parallel/cuda/staged_communicator.h"
#include "tests/support/cuda/under_test.h"

namespace ropewalk {

std::unique_ptr<Kernels> make_cuda_under_test(const BackendOptions& options) {
  return std::make_unique<Kernels>(std::make_unique<cuda_emulated::CudaBackend>(options));
}

bool is_emulated() { return true; }

std::string why_no_ranks(int, DeviceTransport) { return {}; }

RankDevice make_rank_under_test(std::shared_ptr<Communicator> host, DeviceTransport transport,
                                const WorldOptions& options) {
  auto backend = std::make_unique<cuda_emulated::CudaBackend>(BackendOptions{});
  cuda_emulated::Runtime& runtime = backend->runtime();
  auto world = transport == DeviceTransport::kNccl ? cuda_emulated::make_nccl_world(std::move(host), runtime, options)
                                                   : cuda_emulated::make_staged_world(std::move(host), runtime);
  return {std::make_unique<Kernels>(std::move(backend)), std::move(world)};
}

}  // namespace ropewalk
