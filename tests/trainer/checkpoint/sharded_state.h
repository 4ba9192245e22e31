// A small model's state, split over a mesh as in training: by rows or columns over the tensor group, then each tensor
// rank's part over its gradient group. Values are a function of (seed, name, row, column), so any rank of any mesh
// knows what an element must be.
#pragma once

#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "parallel/mesh.h"
#include "trainer/checkpoint/state.h"

namespace ropewalk {

enum class Sharding {
  kOverGradientGroup,  // every rank holds and saves its own part
  kReplicated,         // every data and context rank holds its tensor rank's complete part; the first rank saves it
};

enum class Rounding { kToFloat, kNone };  // of the values, so that fp32 holds them exactly

class ShardedState {
 public:
  ShardedState(const Mesh& mesh, Kernels& kernels, DType dtype, Sharding sharding = Sharding::kOverGradientGroup);

  void fill(uint64_t seed, Rounding rounding = Rounding::kToFloat);
  // The number of elements that differ from those of fill(seed), cast to this state's type.
  int64_t differences(uint64_t seed, Rounding rounding = Rounding::kToFloat) const;
  const std::vector<StateTensor>& tensors() const { return tensors_; }
  std::vector<StateTensor>& tensors() { return tensors_; }

 private:
  void add(const std::string& name, Shape shape, Box box, bool saved_here);

  Kernels& kernels_;
  DType dtype_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<StateTensor> tensors_;
};

// Files of a Hugging Face model, one of them in a folder.
std::vector<SourceFile> some_source_files();

double state_value(uint64_t seed, const std::string& name, int64_t row, int64_t column, Rounding rounding);

}  // namespace ropewalk
