// What a rank takes of the memory that has to hold it: its device's, or the host's where that is the device.
#pragma once

#include <cstdint>

#include "trainer/run/mesh_estimate.h"

namespace ropewalk {

// What CUDA and NCCL take of a device besides the tensors; estimates, 0 for other devices.
struct CudaOverhead {
  // The context with the kernels' code, usually 0.4 to 0.6 GiB, and the products' workspace (64 MiB).
  int64_t context = 0;
  // For each group that moves tensors: 16 channels with buffers of 4 MiB (the default of NCCL_BUFFSIZE, NVIDIA's "NCCL
  // Environment Variables"), one to send and one to receive.
  int64_t nccl = 0;
};
CudaOverhead cuda_overhead(const Config& config);

// Of a GPU: tensors and overhead; else of the process (process_bytes).
int64_t needed_bytes(const StepEstimate& estimate, const Config& config);

}  // namespace ropewalk
