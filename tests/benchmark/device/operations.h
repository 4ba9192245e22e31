// One operation of a backend, or a whole step, to be timed on its device: what a line of the driver asks for.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "kernels/make_kernels.h"

namespace ropewalk::benchmark {

struct Operation {
  std::function<void()> run;
  double flops = 0, bytes = 0;  // of a run; bytes: every tensor once for reading and once for writing, as it must be
  nlohmann::json facts = nlohmann::json::object();  // what else is told of it
};

// Throws ConfigurationError for a request that it does not know. The operation keeps its tensors.
Operation make_operation(const nlohmann::json& request, Kernels& kernels);
Operation make_ring(const nlohmann::json& request, Kernels& kernels);  // ring_forward, ring_backward
Operation make_step(const nlohmann::json& request, Kernels& kernels, BackendKind backend);

}  // namespace ropewalk::benchmark
