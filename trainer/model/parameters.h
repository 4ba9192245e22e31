// One table of parameters, which everything else walks: allocation, initial values, gradient sums, weight decay,
// sharding, checkpoints, export. Names and shapes are those of Hugging Face's Cohere2.
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

// Over which ranks a gradient must still be summed after the backward (the gradient group sums all of them besides).
enum class GradientSum {
  kNone,         // split by the tensor group, or computed whole by each of its ranks
  kTensor,       // each tensor rank saw only its tokens (norms, when tokens are split between blocks)
  kKeyReplicas,  // each rank that holds this key head saw only its query heads
};

struct Parameter {
  std::string name;    // "model.layers.3.self_attn.q_proj.weight"
  Shape shape;         // of the whole tensor: [rows, columns] or [columns]
  Box box;             // the part that this tensor rank holds
  int64_t offset = 0;  // of that part in the flat buffer, in elements
  // A matrix begins normal(0, initializer_range), decays, and multiplies activations, which counts as FLOPs. The weight
  // of a norm begins at one, and does none of that.
  bool is_matrix = true;
  GradientSum gradient_sum = GradientSum::kNone;
  bool is_primary_replica =
      true;  // of the tensor ranks that hold this part, the first: it saves it, counts it in norms
  int64_t rows() const { return shape.rank() == 2 ? shape[0] : 1; }
  int64_t columns() const { return shape.rank() == 2 ? shape[1] : shape[0]; }
};

// Indices into the table of one block's parameters.
struct BlockParameters {
  int norm, q, k, v, o, gate, up, down;
  int q_norm = -1, k_norm = -1;  // only with QK-Norm
};

class ParameterTable {
 public:
  // bucket_parameters: of ParallelConfig.
  ParameterTable(const ModelConfig& model, const MeshShape& mesh, int tensor_rank, bool token_split,
                 int64_t bucket_parameters);

  const std::vector<Parameter>& all() const { return parameters_; }
  const Parameter& operator[](int index) const { return parameters_[static_cast<size_t>(index)]; }
  const ShardPlan& shards() const { return *shards_; }  // of the flat buffer

  // Units, as ShardPlan has them: the embedding; each block, the last one with the final norm.
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

// Values for the table (weights, or gradients) in one flat buffer. What pads it is 0, the rest uninitialised.
class ParameterValues {
 public:
  ParameterValues(const ParameterTable& table, DType dtype, Kernels& kernels);
  const ParameterTable& table() const { return table_; }
  const Tensor& flat() const { return flat_; }
  Tensor operator[](int index) const;  // [rows, columns] of this rank's box
  // All of them, as a checkpoint names them.
  std::vector<StateTensor> state() const;

 private:
  const ParameterTable& table_;
  std::unique_ptr<Buffer> buffer_;
  Tensor flat_;
};

}  // namespace ropewalk
