#include "kernels/cuda_module.h"

#include <dlfcn.h>
#include <link.h>

#include <string_view>

#include "kernels/error.h"
#include "kernels/module_interface.h"

namespace ropewalk {
namespace {

// A module of other headers would take what it is given for something else.
void check_interface(void* module) {
  using Interface = const char*();
  auto* const interface = reinterpret_cast<Interface*>(dlsym(module, "ropewalk_cuda_interface"));
  const std::string_view theirs = interface ? interface() : "not told";
  if (theirs == ROPEWALK_MODULE_INTERFACE) return;
  link_map* place = nullptr;
  CHECK(dlinfo(module, RTLD_DI_LINKMAP, &place) == 0, "{}", dlerror());
  throw ConfigurationError(fmt::format(
      "{} is the CUDA backend of another ropewalk (interface {}, this program's is {}); install the one that "
      "was built with this program, and see that LD_LIBRARY_PATH names no folder with another; "
      "or set parallel.device to CPU",
      place->l_name, theirs, ROPEWALK_MODULE_INTERFACE));
}

// Stays loaded to the end. It is looked for where the program's RUNPATH says (beside the program in a build, in lib/ of
// an installed one), and where the system has libraries.
void* load() {
  void* const module = dlopen("libropewalk_cuda.so", RTLD_NOW | RTLD_LOCAL);
  if (module) {
    check_interface(module);
    return module;
  }
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
