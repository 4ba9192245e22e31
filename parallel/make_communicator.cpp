#include "parallel/make_communicator.h"

#include "parallel/mpi_communicator.h"
#include "parallel/thread_communicator.h"

#ifdef ROPEWALK_HAS_CUDA
#include "kernels/cuda/cuda_kernels.h"
#include "parallel/cuda/nccl_communicator.h"
#include "parallel/cuda/staged_communicator.h"
#endif

namespace ropewalk {

std::shared_ptr<Communicator> make_world(Transport transport, const WorldOptions& options) {
  switch (transport) {
    case Transport::kSingle:
      return ThreadWorld(1, options.deadline).communicator(0);
    case Transport::kMpi:
      return make_mpi_world(options);
  }
  CHECK(false, "transport {}", static_cast<int>(transport));
}

std::shared_ptr<Communicator> make_device_world(std::shared_ptr<Communicator> host, Kernels& kernels,
                                                [[maybe_unused]] DeviceTransport transport,
                                                [[maybe_unused]] const WorldOptions& options) {
  if (kernels.device().kind == Device::Kind::kHost) return host;
#ifdef ROPEWALK_HAS_CUDA
  auto* const cuda_kernels = dynamic_cast<cuda::CudaKernels*>(&kernels);
  CHECK(cuda_kernels, "the kernels are called {} and compute on a device", kernels.name());
  cuda::Runtime& runtime = cuda_kernels->runtime();
  // A single rank sends nothing.
  if (transport == DeviceTransport::kStaged || host->size() == 1)
    return cuda::make_staged_world(std::move(host), runtime);
#ifdef ROPEWALK_HAS_NCCL
  return cuda::make_nccl_world(std::move(host), runtime, options);
#else
  throw ConfigurationError(
      "this ropewalk was built without NCCL, by which devices send to each other; build it where CMake finds nccl.h and "
      "libnccl (-DNCCL_INCLUDE_DIR=, -DNCCL_LIBRARY=), or set parallel.device_transport to STAGED, which goes through "
      "host memory");
#endif
#else
  CHECK(false, "a device in a build without any");
#endif
}

}  // namespace ropewalk
