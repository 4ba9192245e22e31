// The only file that knows the backends' classes.
#include "kernels/make_kernels.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda_module.h"
#include "kernels/reference_backend.h"

namespace ropewalk {

DType compute_type(BackendKind kind) {
  switch (kind) {
    case BackendKind::kReferenceF64:
      return DType::kF64;
    case BackendKind::kReferenceF32:
    case BackendKind::kCpu:
      return DType::kF32;
    case BackendKind::kReferenceBF16:
    case BackendKind::kCpuBF16:
    case BackendKind::kCuda:
      return DType::kBF16;
  }
  CHECK(false, "backend {}", static_cast<int>(kind));
}

BackendLimits limits_of(BackendKind kind) {
  if (kind != BackendKind::kCuda) return {};
  return {.head_sizes = {64, 128}, .most_grouped_heads = 32, .width_multiple = 8, .most_width = 16384};
}

const char* name_of(AttentionForm form) {
  switch (form) {
    case AttentionForm::kAutomatic:
      return "automatic";
    case AttentionForm::kPortable:
      return "portable";
    case AttentionForm::kHopper:
      return "hopper";
  }
  CHECK(false, "attention form {}", static_cast<int>(form));
  return "";
}

namespace {

std::unique_ptr<Backend> make_backend(BackendKind kind, const BackendOptions& options) {
  switch (kind) {
    case BackendKind::kReferenceF64:
    case BackendKind::kReferenceF32:
    case BackendKind::kReferenceBF16:
      return std::make_unique<ReferenceBackend>(compute_type(kind));
    case BackendKind::kCpu:
    case BackendKind::kCpuBF16:
      return std::make_unique<CpuBackend>(compute_type(kind));
    case BackendKind::kCuda:
      return cuda_function<std::unique_ptr<Backend>(const BackendOptions&)>("ropewalk_make_cuda_backend")(options);
  }
  CHECK(false, "backend {}", static_cast<int>(kind));
}

}  // namespace

std::unique_ptr<Kernels> make_kernels(BackendKind kind, const BackendOptions& options) {
  return std::make_unique<Kernels>(make_backend(kind, options));
}

}  // namespace ropewalk
