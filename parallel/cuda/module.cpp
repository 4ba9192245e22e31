#include "kernels/cuda/cuda_backend.h"
#include "parallel/communicator/make_communicator.h"
#include "parallel/cuda/nccl_communicator.h"
#include "parallel/cuda/staged_communicator.h"

namespace ROPEWALK_CUDA {
namespace {

std::shared_ptr<Communicator> make_world(std::shared_ptr<Communicator> host, Kernels& kernels,
                                         DeviceTransport transport, [[maybe_unused]] const WorldOptions& options) {
  auto* const here = dynamic_cast<CudaBackend*>(&kernels.backend());
  CHECK(here, "the kernels are those of backend {}, not of this module", kernels.name());
  // A single rank sends nothing.
  if (transport == DeviceTransport::kStaged || host->size() == 1)
    return make_staged_world(std::move(host), here->runtime());
#ifdef ROPEWALK_HAS_NCCL
  return make_nccl_world(std::move(host), here->runtime(), options);
#else
  throw ConfigurationError(
      "this ropewalk was built without NCCL, which transfers between devices need; build it where CMake finds nccl.h "
      "and libnccl (-DROPEWALK_NCCL_INCLUDE=, -DROPEWALK_NCCL_LIBRARY=), or set parallel.device_transport to STAGED, "
      "which goes through host memory");
#endif
}

}  // namespace
}  // namespace ROPEWALK_CUDA

// Called by make_device_world().
extern "C" std::shared_ptr<ropewalk::Communicator> ropewalk_make_cuda_world(
    std::shared_ptr<ropewalk::Communicator> host, ropewalk::Kernels& kernels, ropewalk::DeviceTransport transport,
    const ropewalk::WorldOptions& options) {
  return ROPEWALK_CUDA::make_world(std::move(host), kernels, transport, options);
}
