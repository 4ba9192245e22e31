// How much memory a rank needs: of its GPU, or of the host if it runs on a CPU.
#pragma once

#include <cstdint>

#include "trainer/run/mesh_estimate.h"

namespace ropewalk {

// Estimated bytes that CUDA and NCCL take of a GPU's memory besides the tensors; 0 on a CPU.
struct CudaOverhead {
  // The CUDA context with the kernels' code, usually 0.4 to 0.6 GiB, and the workspace of matrix products (64 MiB).
  int64_t context = 0;
  // 128 MiB for each NCCL communicator: 16 channels, each with a send and a receive buffer of 4 MiB (the default of
  // NCCL_BUFFSIZE; NVIDIA, "NCCL Environment Variables").
  int64_t nccl = 0;
};
CudaOverhead cuda_overhead(const Config& config);

// Bytes of a GPU that a rank takes after CUDA has started there: needed_bytes() without the context. On a CPU, all.
int64_t bytes_beside_context(const StepEstimate& estimate, const Config& config);

// Bytes that a rank needs: on a GPU, the tensors and cuda_overhead(); on a CPU, the whole process (process_bytes()).
int64_t needed_bytes(const StepEstimate& estimate, const Config& config);

}  // namespace ropewalk
