// The CUDA backend is a separate module, libropewalk_cuda.so, which is loaded only if it is needed: its libraries take
// 200 MB of memory per process, and most hosts do not have them. Program and module exchange C++ objects, so the module
// exports a fingerprint of the headers that it was compiled with (ROPEWALK_MODULE_INTERFACE). The program rejects a
// module whose fingerprint differs from its own.
#pragma once

#include <string>

namespace ropewalk {

// Returns the function that the module exports by this name (kernels/cuda/module.cpp, parallel/cuda/module.cpp). Throws
// ConfigurationError if the module or its libraries are missing, or if it belongs to another build.
void* cuda_function(const std::string& name);
template <typename F>
F* cuda_function(const std::string& name) {
  return reinterpret_cast<F*>(cuda_function(name));
}

}  // namespace ropewalk
