#include "kernels/cuda_module.h"

#include <dlfcn.h>
#include <link.h>

#include <string_view>

#include "kernels/error.h"
#include "kernels/module_interface.h"

namespace ropewalk {
namespace {

// A module that was compiled with other headers would misread the objects it is given.
void check_interface(void* module) {
  using Interface = const char*();
  auto* const interface = reinterpret_cast<Interface*>(dlsym(module, "ropewalk_cuda_interface"));
  const std::string_view theirs = interface ? interface() : "unknown";
  if (theirs == ROPEWALK_MODULE_INTERFACE) return;
  link_map* place = nullptr;
  CHECK(dlinfo(module, RTLD_DI_LINKMAP, &place) == 0, "{}", dlerror());
  throw ConfigurationError(fmt::format(
      "{} is the CUDA backend of another build of ropewalk (interface {}, this program's is {}); install the one that "
      "was built with this program, and make sure that no folder in LD_LIBRARY_PATH has another; "
      "or set parallel.device to CPU",
      place->l_name, theirs, ROPEWALK_MODULE_INTERFACE));
}

// The module stays loaded until the process ends. dlopen searches the program's RUNPATH (beside the program in a build
// tree, lib/ of an installation) and the system's library paths.
void* load() {
  void* const module = dlopen("libropewalk_cuda.so", RTLD_NOW | RTLD_LOCAL);
  if (module) {
    check_interface(module);
    return module;
  }
  throw ConfigurationError(
      fmt::format("the CUDA backend cannot be loaded ({}); configure the build with nvcc on the path (or "
                  "-DCMAKE_CUDA_COMPILER=/path/to/nvcc), and let the program find the CUDA and NCCL libraries "
                  "of that build (LD_LIBRARY_PATH); or set parallel.device to CPU",
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
