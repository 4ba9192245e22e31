// The calls by which files come to the disk (open, flock, ftruncate, write, pwrite, fsync, rename,
// unlink), for tests to let any of them fail or end the process.
#pragma once

#include <functional>
#include <string_view>

namespace ropewalk {

// While it lives, `fault` is asked before each call, by its name, and returns the error that it fails with; 0: none.
class FaultyCalls {
 public:
  explicit FaultyCalls(std::function<int(std::string_view call)> fault);
  ~FaultyCalls();
  FaultyCalls(const FaultyCalls&) = delete;
  FaultyCalls& operator=(const FaultyCalls&) = delete;
};

}  // namespace ropewalk
