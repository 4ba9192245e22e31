// training.precision: which precisions a device has, its default, and the backend that computes in it.
#pragma once

#include <optional>

#include "configs/ropewalk.pb.h"
#include "kernels/make_kernels.h"

namespace ropewalk {

inline proto::Precision usual_precision(proto::Device device) {
  return device == proto::CUDA ? proto::BF16 : device == proto::REFERENCE ? proto::FP64 : proto::FP32;
}

inline void resolve_precision(proto::Config& config) {
  if (!config.training().has_precision())
    config.mutable_training()->set_precision(usual_precision(config.parallel().device()));
}

// nullopt: the device has no such precision.
inline std::optional<BackendKind> backend_of(proto::Device device, proto::Precision precision) {
  if (device == proto::CPU && precision == proto::BF16) return BackendKind::kCpuBF16;
  if (precision != usual_precision(device)) return std::nullopt;
  return device == proto::CUDA        ? BackendKind::kCuda
         : device == proto::REFERENCE ? BackendKind::kReferenceF64
                                      : BackendKind::kCpu;
}

}  // namespace ropewalk
