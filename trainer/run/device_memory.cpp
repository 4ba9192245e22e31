#include "trainer/run/device_memory.h"

namespace ropewalk {

CudaOverhead cuda_overhead(const Config& config) {
  constexpr int64_t kMiB = 1 << 20, kContext = (512 + 64) * kMiB, kGroup = 16 * 2 * 4 * kMiB;
  if (config.parallel.backend != BackendKind::kCuda) return {};
  const MeshShape& mesh = config.parallel.mesh;
  const bool replicas = mesh.tensor_parallel > config.model.key_heads;
  const int groups = (mesh.tensor_parallel > 1) + (mesh.context_parallel > 1) +
                     (mesh.data_parallel * mesh.context_parallel > 1) + replicas;
  return {kContext, config.parallel.device_transport == DeviceTransport::kNccl ? groups * kGroup : 0};
}

int64_t bytes_beside_context(const StepEstimate& estimate, const Config& config) {
  return needed_bytes(estimate, config) - cuda_overhead(config).context;
}

int64_t needed_bytes(const StepEstimate& estimate, const Config& config) {
  if (config.parallel.backend != BackendKind::kCuda) return process_bytes(estimate);
  const CudaOverhead overhead = cuda_overhead(config);
  return estimate.memory.total() + overhead.context + overhead.nccl;
}

}  // namespace ropewalk
