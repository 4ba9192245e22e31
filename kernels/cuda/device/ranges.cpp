#include "kernels/cuda/ranges.h"

#include <nvtx3/nvToolsExt.h>

namespace ropewalk::cuda {
namespace {

class Nvtx final : public RangeMarker {
 public:
  void push(const char* name) override { nvtxRangePushA(name); }
  void pop() override { nvtxRangePop(); }
};

}  // namespace

// Without a profiler, these calls do almost nothing.
RangeMarker* range_marker() {
  static Nvtx nvtx;
  return &nvtx;
}

}  // namespace ropewalk::cuda
