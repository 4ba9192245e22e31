// Which backends exist, and what each can compute.
#pragma once

#include <limits>
#include <memory>
#include <vector>

#include "kernels/kernels.h"

namespace ropewalk {

enum class BackendKind { kReferenceF64, kReferenceF32, kReferenceBF16, kCpu, kCpuBF16, kCuda };

// The type of a backend's weights and activations, whether this build has the backend or not.
DType compute_type(BackendKind kind);

// What a backend can compute, whether this build has the backend or not.
struct BackendLimits {
  std::vector<int64_t> head_sizes = {};                              // of attention; empty: any
  int64_t most_grouped_heads = std::numeric_limits<int64_t>::max();  // query heads per key head
  int64_t width_multiple = 1;                                        // D must be a multiple of this
  int64_t most_width = std::numeric_limits<int64_t>::max();          // and at most this
};
BackendLimits limits_of(BackendKind kind);

// Which attention kernels the cuda backend uses: the portable ones (compute capability 8.0 and later) or Hopper's (9.0
// only). Automatic: Hopper's if both the GPU and the build support them.
enum class AttentionForm { kAutomatic, kPortable, kHopper };
const char* name_of(AttentionForm form);

struct BackendOptions {
  int local_rank = 0;         // selects device local_rank mod the host's number of devices
  bool deterministic = true;  // false: kernels that have a faster form may accumulate in any order (cuda:
                              // attention's dq)
  AttentionForm attention = AttentionForm::kAutomatic;  // cuda; DeviceError if unsupported
};

// Makes the kernels of a backend. Throws ConfigurationError if the backend is not built or lacks its libraries,
// DeviceError if the host lacks the device. Only make_kernels.cpp knows the backends' classes.
std::unique_ptr<Kernels> make_kernels(BackendKind kind, const BackendOptions& options = {});

}  // namespace ropewalk
