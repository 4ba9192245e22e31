// The CUDA backend is a module of its own, libropewalk_cuda.so, which is loaded when it is asked for: its libraries
// take 200 MB of every process, and most hosts do not have them. It stands beside the program. Both pass each other C++
// objects, so it says of what headers it was built (ROPEWALK_MODULE_INTERFACE), and is not called if they are others.
#pragma once

#include <string>

namespace ropewalk {

// A function of the module, which it exports by this name (kernels/cuda/module.cpp, parallel/cuda/module.cpp). Throws
// ConfigurationError where there is no module, or it lacks its libraries, or belongs to another build.
void* cuda_function(const std::string& name);
template <typename F>
F* cuda_function(const std::string& name) {
  return reinterpret_cast<F*>(cuda_function(name));
}

}  // namespace ropewalk
