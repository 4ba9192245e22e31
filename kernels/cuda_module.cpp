#include "kernels/cuda_module.h"

#include <dlfcn.h>

#include "kernels/error.h"

namespace ropewalk {
namespace {

// Stays loaded to the end. It is looked for where the program's RUNPATH says, beside the program, and where the system
// has libraries.
void* load() {
  void* const module = dlopen("libropewalk_cuda.so", RTLD_NOW | RTLD_LOCAL);
  if (module) return module;
  throw ConfigurationError(
      fmt::format("the CUDA backend cannot be loaded ({}); it is built where CMake finds nvcc (on the path, or "
                  "-DCMAKE_CUDA_COMPILER=/path/to/nvcc) and needs the libraries of CUDA and NCCL that it was built "
                  "with where it runs (LD_LIBRARY_PATH); or set "
                  "parallel.device to CPU",
                  dlerror()));
}

}  // namespace

void* cuda_function(const std::string& name) {
  static void* const module = load();
  void* const function = dlsym(module, name.c_str());
  CHECK(function, "the CUDA backend has no {}", name);
  return function;
}

}  // namespace ropewalk
