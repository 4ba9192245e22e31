// One operation of a backend, or a training step, to be timed on its device: what one request of the driver asks for.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "kernels/make_kernels.h"

namespace ropewalk::benchmark {

struct Operation {
  std::function<void()> run;
  double flops = 0, bytes = 0;  // of one run; bytes: each tensor once if it must be read, once if written
  nlohmann::json facts = nlohmann::json::object();  // more members for the answer
};

// Throw ConfigurationError for an unknown request. The operation owns its tensors.
Operation make_operation(const nlohmann::json& request, Kernels& kernels);
Operation make_ring(const nlohmann::json& request, Kernels& kernels);  // ring_forward, ring_backward
Operation make_step(const nlohmann::json& request, Kernels& kernels, BackendKind backend);

}  // namespace ropewalk::benchmark
