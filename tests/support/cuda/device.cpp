#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/cuda/requirements.h"
#include "tests/support/cuda/under_test.h"

namespace ropewalk {
namespace {

// Throws on a host that has devices but cannot use them, so that its tests fail.
int device_count() {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaSuccess) return devices;
  if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver) return 0;
  throw DeviceError(fmt::format("cannot count the CUDA devices: {}", cudaGetErrorString(error)));
}

// Of the first device, which tests of one rank use.
bool has_hopper() {
  cuda::DeviceFacts device;
  for (const auto& [attribute, to] : {std::pair{cudaDevAttrComputeCapabilityMajor, &device.major},
                                      {cudaDevAttrComputeCapabilityMinor, &device.minor}}) {
    const cudaError_t error = cudaDeviceGetAttribute(to, attribute, 0);
    if (error != cudaSuccess)
      throw DeviceError(fmt::format("reading the compute capability of a CUDA device: {}", cudaGetErrorString(error)));
  }
  return cuda::is_hopper(device);
}

// From NCCL 2.30 on, several ranks of a process may share a GPU if the environment allows it.
bool nccl_shares_a_device() {
  constexpr int kFirst = 23000;
  const char* allowed = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE");
  void* library = dlopen("libnccl.so.2", RTLD_LAZY);
  if (!allowed || std::string_view(allowed) != "1" || !library) return false;
  auto* const get_version = reinterpret_cast<int (*)(int*)>(dlsym(library, "ncclGetVersion"));
  int version = 0;
  return get_version && get_version(&version) == 0 && version >= kFirst;
}

// Memory that was freed while ranks shared a device over NCCL. cudaFree waits for all work of the device: also for
// kernels of NCCL that wait for the rank which frees. So it is freed when the last of these ranks has left its world.
struct Freed {
  std::mutex mutex;
  int ranks = 0;  // that share a device
  std::vector<void*> memory;
} freed;

cudaError_t free_at_once(void* memory) {
  static auto* const real = reinterpret_cast<cudaError_t (*)(void*)>(dlsym(RTLD_NEXT, "cudaFree"));
  return real(memory);
}

class SharedDevice {
 public:
  SharedDevice() {
    const std::lock_guard lock(freed.mutex);
    ++freed.ranks;
  }
  ~SharedDevice() {
    const std::lock_guard lock(freed.mutex);
    if (--freed.ranks > 0) return;
    for (void* const memory : std::exchange(freed.memory, {})) free_at_once(memory);
  }
  SharedDevice(const SharedDevice&) = delete;
  SharedDevice& operator=(const SharedDevice&) = delete;
};

struct WorldOnSharedDevice {
  SharedDevice device;  // destroyed after the world
  std::shared_ptr<Communicator> world;
};

}  // namespace

// Called by the CUDA backend in place of the runtime library's, because the program comes first in the loader's order.
extern "C" __attribute__((visibility("default"))) cudaError_t cudaFree(void* memory) {
  {
    const std::lock_guard lock(freed.mutex);
    if (memory && freed.ranks > 0) {
      freed.memory.push_back(memory);
      return cudaSuccess;
    }
  }
  return free_at_once(memory);
}

std::unique_ptr<Kernels> make_cuda_under_test(const BackendOptions& options) {
  if (device_count() == 0 || (options.attention == AttentionForm::kHopper && !has_hopper())) return nullptr;
  return make_kernels(BackendKind::kCuda, options);
}

bool is_emulated() { return false; }

std::string why_no_ranks(int ranks, DeviceTransport transport) {
  if (device_count() == 0) return "no CUDA device here";
  if (transport == DeviceTransport::kNccl && device_count() < ranks && !nccl_shares_a_device())
    return fmt::format(
        "{} CUDA devices here for {} ranks, which share one only with NCCL 2.30 or later and "
        "NCCL_MULTI_RANK_GPU_ENABLE=1",
        device_count(), ranks);
  return {};
}

RankDevice make_rank_under_test(std::shared_ptr<Communicator> host, DeviceTransport transport,
                                const WorldOptions& options) {
  auto kernels = make_kernels(BackendKind::kCuda, {.local_rank = host->rank()});
  if (transport != DeviceTransport::kNccl || host->size() <= device_count()) {
    auto world = make_device_world(std::move(host), *kernels, transport, options);
    return {std::move(kernels), std::move(world)};
  }
  const auto shared = std::make_shared<WorldOnSharedDevice>();
  shared->world = make_device_world(std::move(host), *kernels, transport, options);
  return {std::move(kernels), std::shared_ptr<Communicator>(shared, shared->world.get())};
}

}  // namespace ropewalk
