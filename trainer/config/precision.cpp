#include "trainer/config/precision.h"

#include "configs/ropewalk.pb.h"

namespace ropewalk {

proto::Precision usual_precision(proto::Device device) {
  return device == proto::CUDA ? proto::BF16 : device == proto::REFERENCE ? proto::FP64 : proto::FP32;
}

void resolve_precision(proto::Config& config) {
  if (!config.training().has_precision())
    config.mutable_training()->set_precision(usual_precision(config.parallel().device()));
}

std::optional<BackendKind> backend_of(proto::Device device, proto::Precision precision) {
  if (device == proto::CPU && precision == proto::BF16) return BackendKind::kCpuBF16;
  if (precision != usual_precision(device)) return std::nullopt;
  return device == proto::CUDA        ? BackendKind::kCuda
         : device == proto::REFERENCE ? BackendKind::kReferenceF64
                                      : BackendKind::kCpu;
}

}  // namespace ropewalk
