// training.precision: which precisions a device has, its default, and the backend that computes in it.
#pragma once

#include <optional>

#include "kernels/make_kernels.h"

namespace ropewalk {

namespace proto {
class Config;
enum Device : int;
enum Precision : int;
}  // namespace proto

proto::Precision usual_precision(proto::Device device);

// Sets the precision to the device's usual one if the configuration has none.
void resolve_precision(proto::Config& config);

// nullopt: the device has no such precision.
std::optional<BackendKind> backend_of(proto::Device device, proto::Precision precision);

}  // namespace ropewalk
