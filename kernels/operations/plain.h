// How an operation's plain form (Backend's own body of it) comes to its loop.
#pragma once

#include "kernels/floating.h"
#include "kernels/kernels.h"

namespace ropewalk::operations {

// Whether the backend runs plain loops: not one that only counts. Fails CHECK where its memory is not the host's, as
// such a backend must have a form of its own for every operation.
bool runs_plain(const Backend& backend, const char* operation);

// Runs a loop over any elements: f is called with a value of their type.
template <typename F>
void plain(const Backend& backend, const char* operation, DType dtype, F&& f) {
  if (runs_plain(backend, operation)) visit_floating(dtype, f);
}

// Runs a loop in the backend's accumulator type: f is called with a double or a float.
template <typename F>
void plain(const Backend& backend, const char* operation, F&& f) {
  if (!runs_plain(backend, operation)) return;
  if (backend.dtype() == DType::kF64)
    f(double{});
  else
    f(float{});
}

}  // namespace ropewalk::operations
