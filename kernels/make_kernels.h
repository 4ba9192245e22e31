// Which backends there are, and what each can compute.
#pragma once

#include <limits>
#include <memory>
#include <vector>

#include "kernels/kernels.h"

namespace ropewalk {

enum class BackendKind { kReferenceF64, kReferenceF32, kReferenceBF16, kCpu, kCuda };

// Of a backend's weights and activations, whether this build has it or not.
DType compute_type(BackendKind kind);

// What a backend can compute, whether this build has it or not.
struct BackendLimits {
  std::vector<int64_t> head_sizes = {};                              // of attention; empty: any
  int64_t most_grouped_heads = std::numeric_limits<int64_t>::max();  // query heads to a key head
  int64_t width_multiple = 1;                                        // D is a multiple of it
  int64_t most_width = std::numeric_limits<int64_t>::max();          // and not larger
};
BackendLimits limits_of(BackendKind kind);

// How the cuda backend computes attention: by what every device has, or by what only compute capability 9.0 has.
// Automatic: Hopper's where device and build have it.
enum class AttentionForm { kAutomatic, kPortable, kHopper };
const char* name_of(AttentionForm form);

struct BackendOptions {
  int local_rank = 0;         // which of a host's devices, counted around
  bool deterministic = true;  // false: where there is a form for it, what is added to one place may come in any order
                              // (cuda: attention's dq)
  AttentionForm attention = AttentionForm::kAutomatic;  // of cuda; DeviceError where the device is not for it
};

// The kernels of a backend. Throws ConfigurationError where it is not built or lacks its libraries, DeviceError where
// the host lacks the device. Which classes they are is known in make_kernels.cpp alone.
std::unique_ptr<Kernels> make_kernels(BackendKind kind, const BackendOptions& options = {});

}  // namespace ropewalk
