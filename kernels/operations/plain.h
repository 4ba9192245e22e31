// The plain form of an operation is its default implementation in Backend: a loop over host memory. These functions
// choose the loop's scalar type, and run it if the backend computes.
#pragma once

#include "kernels/floating.h"
#include "kernels/kernels.h"

namespace ropewalk::operations {

// True if the backend computes, false if it only counts. Fails CHECK if its memory is not the host's, because such a
// backend must override every operation.
bool runs_plain(const Backend& backend, const char* operation);

// Runs a loop over elements of any floating type: f is called with a value of that type.
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
