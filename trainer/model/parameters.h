// The parameter table. Allocation, initialization, gradient reduction, weight decay, sharding and checkpoints iterate
// over it. Names and shapes are those of Hugging Face's Cohere2.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/rank.h"
#include "parallel/shard_plan.h"
#include "trainer/config/config.h"
#include "trainer/model/state_tensor.h"

namespace ropewalk {

// The ranks over which a gradient is summed after the backward, in addition to the gradient group, which sums all
// gradients.
enum class GradientSum {
  kNone,         // the tensor group splits the parameter, or each of its ranks computes the complete gradient
  kTensor,       // each tensor rank saw only its own tokens (norms over the width, with sequence_parallel)
  kKeyReplicas,  // each rank that holds this KV head saw only its own query heads
};

struct Parameter {
  std::string name;    // "model.layers.3.self_attn.q_proj.weight"
  Shape shape;         // of the whole tensor: [rows, columns] or [columns]
  Box box;             // the part that this tensor rank holds
  int64_t offset = 0;  // of that part in the flat buffer, in elements
  // Matrices: initialized normal(0, initializer_range), with weight decay, counted in model FLOPs. The others are
  // weights of norms: initialized to 1, without decay, not counted.
  bool is_matrix = true;
  GradientSum gradient_sum = GradientSum::kNone;
  // Whether this rank is the first of the tensor ranks that hold this part. Only the first rank saves the part, and
  // counts it in the gradient norm.
  bool is_primary_replica = true;
  int64_t rows() const { return shape.rank() == 2 ? shape[0] : 1; }
  int64_t columns() const { return shape.rank() == 2 ? shape[1] : shape[0]; }
};

// One block's parameters, as indices into the table.
struct BlockParameters {
  int norm, q, k, v, o, gate, up, down;
  int q_norm = -1, k_norm = -1;  // only with QK-Norm
};

class ParameterTable {
 public:
  // token_split: TensorRegion::token_split(). bucket_parameters: ParallelConfig::bucket_parameters.
  ParameterTable(const ModelConfig& model, const MeshShape& mesh, int tensor_rank, bool token_split,
                 int64_t bucket_parameters);

  const std::vector<Parameter>& all() const { return parameters_; }
  const Parameter& operator[](int index) const { return parameters_[static_cast<size_t>(index)]; }
  const ShardPlan& shards() const { return *shards_; }  // of the flat buffer

  // The units of ShardPlan: the embedding; each block, the last one with the final norm.
  static constexpr size_t kEmbeddingUnit = 0;
  static size_t unit_of_block(size_t layer) { return layer + 1; }
  int first_of_unit(size_t unit) const { return shards_->first_of_unit(unit); }  // its parameters are consecutive
  int end_of_unit(size_t unit) const { return shards_->first_of_unit(unit + 1); }

  int embedding() const { return embedding_; }
  int final_norm() const { return final_norm_; }
  const BlockParameters& block(size_t layer) const { return blocks_[layer]; }

 private:
  std::vector<Parameter> parameters_;
  std::vector<BlockParameters> blocks_;
  int embedding_ = -1, final_norm_ = -1;
  std::optional<ShardPlan> shards_;
};

// Values for the table (weights, or gradients) in one flat buffer. Padding is 0, the rest uninitialized.
class ParameterValues {
 public:
  ParameterValues(const ParameterTable& table, DType dtype, Kernels& kernels);
  const ParameterTable& table() const { return table_; }
  const Tensor& flat() const { return flat_; }
  Tensor operator[](int index) const;  // [rows, columns] of this rank's box
  // All parameters, under the names that a checkpoint uses.
  std::vector<StateTensor> state() const;

 private:
  const ParameterTable& table_;
  std::unique_ptr<Buffer> buffer_;
  Tensor flat_;
};

}  // namespace ropewalk
