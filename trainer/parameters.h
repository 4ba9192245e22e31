// One table of parameters, which everything else walks: allocation, initial values, gradient sums, weight decay,
// sharding, checkpoints, export. Names and shapes are those of Hugging Face's Cohere2.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/shard_plan.h"
#include "trainer/config.h"
#include "trainer/rank.h"

namespace ropewalk {

// A block of rows and columns of a global tensor [rows, columns]; a vector [columns] counts as one row.
struct Box {
  int64_t row_begin, row_end, column_begin, column_end;
  int64_t rows() const { return row_end - row_begin; }
  int64_t columns() const { return column_end - column_begin; }
  int64_t elements() const { return rows() * columns(); }
  bool operator==(const Box&) const = default;
};

// Over which ranks a gradient must still be summed after the backward (the gradient group sums all of them besides).
enum class GradientSum {
  kNone,         // split by the tensor group, or computed whole by each of its ranks
  kTensor,       // each tensor rank saw only its tokens (norms, when tokens are split between blocks)
  kKeyReplicas,  // each rank that holds this key head saw only its query heads
};

struct Parameter {
  std::string name;  // "model.layers.3.self_attn.q_proj.weight"
  Shape shape;       // of the whole tensor: [rows, columns] or [columns]
  Box box;           // the part that this tensor rank holds
  int64_t offset;    // of that part in the flat buffer, in elements
  bool is_norm;      // starts at one, does not decay; else starts normal(0, initializer_range) and decays
  GradientSum gradient_sum;
  bool counted;  // this rank counts it in global norms and saves it (of ranks that hold the same part, the first does)
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
  ParameterTable(const ModelConfig& model, const MeshShape& mesh, int tensor_rank, bool token_split);

  const std::vector<Parameter>& all() const { return parameters_; }
  const Parameter& operator[](int index) const { return parameters_[static_cast<size_t>(index)]; }
  int64_t elements() const { return elements_; }  // of the flat buffer
  std::vector<FlatParameter> flat() const;

  int embedding() const { return embedding_; }
  int final_norm() const { return final_norm_; }
  const BlockParameters& block(size_t layer) const { return blocks_[layer]; }

 private:
  std::vector<Parameter> parameters_;
  std::vector<BlockParameters> blocks_;
  int embedding_ = -1, final_norm_ = -1;
  int64_t elements_ = 0;
};

// Values for the table (weights, or gradients) in one flat buffer.
class ParameterValues {
 public:
  ParameterValues(const ParameterTable& table, DType dtype, Kernels& kernels);  // uninitialised
  const ParameterTable& table() const { return table_; }
  const Tensor& flat() const { return flat_; }
  Tensor operator[](int index) const;  // [rows, columns] of this rank's box

 private:
  const ParameterTable& table_;
  std::unique_ptr<Buffer> buffer_;
  Tensor flat_;
};

// Initial weights (fp32 or fp64): a function of (seed, name, place in the whole tensor) only, so every mesh starts from
// the same ones. Matrices are normal(0, initializer_range), norms one.
void initialize(const ParameterValues& weights, const ModelConfig& model, uint64_t seed, Kernels& kernels);

}  // namespace ropewalk
