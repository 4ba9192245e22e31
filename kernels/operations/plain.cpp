#include "kernels/operations/plain.h"

namespace ropewalk::operations {

bool runs_plain(const Backend& backend, const char* operation) {
  CHECK(backend.device() == Device{}, "the backend {} has no form of its own for {}", backend.name(), operation);
  return backend.computes();
}

}  // namespace ropewalk::operations
