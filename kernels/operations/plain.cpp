#include "kernels/operations/plain.h"

namespace ropewalk::operations {

bool runs_plain(const Backend& backend, const char* operation) {
  CHECK(backend.device() == Device{}, "the backend {} does not implement {}", backend.name(), operation);
  return backend.computes();
}

}  // namespace ropewalk::operations
