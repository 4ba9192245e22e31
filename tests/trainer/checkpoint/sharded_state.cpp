#include "tests/trainer/checkpoint/sharded_state.h"

#include <cstring>

#include "parallel/shard_plan.h"
#include "trainer/files/crc32c.h"

namespace ropewalk {
namespace {

enum class Cut { kRows, kColumns, kNone };

struct GlobalTensor {
  const char* name;
  Shape shape;
  Cut cut;  // over the tensor group
};

// Odd sizes, so that parts have different sizes; a matrix of one column, and one of one row.
const GlobalTensor kTensors[] = {
    {"embed_tokens.weight", {23, 10}, Cut::kRows},    {"layers.0.norm.weight", {10}, Cut::kNone},
    {"layers.0.q_proj.weight", {13, 10}, Cut::kRows}, {"layers.0.o_proj.weight", {10, 13}, Cut::kColumns},
    {"layers.0.thin.weight", {9, 1}, Cut::kRows},     {"layers.0.flat.weight", {1, 9}, Cut::kColumns},
    {"layers.0.scale.weight", {3}, Cut::kNone},       {"norm.weight", {10}, Cut::kNone},
};

Box tensor_part(const GlobalTensor& tensor, const Mesh& mesh) {
  const int64_t rows = tensor.shape.rank() == 2 ? tensor.shape[0] : 1;
  const int64_t columns = tensor.shape[tensor.shape.rank() - 1];
  const int parts = mesh.shape().tensor_parallel, part = mesh.tensor_rank();
  Box box{0, rows, 0, columns};
  if (tensor.cut == Cut::kRows) {
    const Partition cut = Partition::even(rows, parts);
    box.row_begin = cut.begin(part);
    box.row_end = cut.end(part);
  } else if (tensor.cut == Cut::kColumns) {
    const Partition cut = Partition::even(columns, parts);
    box.column_begin = cut.begin(part);
    box.column_end = cut.end(part);
  }
  return box;
}

uint64_t mix(uint64_t x) {  // splitmix64's finaliser
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

std::vector<double> values_of(const StateTensor& tensor, uint64_t seed, Rounding rounding) {
  std::vector<double> values;
  for (int64_t row = tensor.box.row_begin; row < tensor.box.row_end; ++row) {
    for (int64_t column = tensor.box.column_begin; column < tensor.box.column_end; ++column) {
      values.push_back(state_value(seed, tensor.name, row, column, rounding));
    }
  }
  return values;
}

}  // namespace

double state_value(uint64_t seed, const std::string& name, int64_t row, int64_t column, Rounding rounding) {
  const uint64_t place = (seed << 40) ^ (uint64_t{crc32c(name)} << 20) ^ static_cast<uint64_t>(row * 1000 + column);
  const double value = static_cast<double>(static_cast<int64_t>(mix(place + 1))) * 0x1p-63;
  return rounding == Rounding::kToFloat ? static_cast<float>(value) : value;
}

ShardedState::ShardedState(const Mesh& mesh, Kernels& kernels, DType dtype, Sharding sharding)
    : kernels_(kernels), dtype_(dtype) {
  std::vector<int64_t> sizes;
  std::vector<Box> parts;
  for (const GlobalTensor& tensor : kTensors) {
    parts.push_back(tensor_part(tensor, mesh));
    sizes.push_back(parts.back().elements());
  }
  const bool is_first = mesh.data_rank() == 0 && mesh.context_rank() == 0;
  const ShardPlan plan({sizes}, sharding == Sharding::kReplicated ? 1 : mesh.gradient().size(), 0);
  const int shard = sharding == Sharding::kReplicated ? 0 : mesh.gradient().rank();
  for (const char* group : {"model.", "optimizer.m.model.", "optimizer.v.model."}) {
    for (const ShardSegment& segment : plan.segments(plan.buckets().front(), shard)) {
      const auto index = static_cast<size_t>(segment.parameter);
      const GlobalTensor& tensor = kTensors[index];
      const Box& part = parts[index];
      const bool counted = tensor.cut != Cut::kNone || mesh.tensor_rank() == 0;
      for (const Box& piece : boxes_of(segment.begin, segment.end, part.columns()))
        add(std::string(group) + tensor.name, tensor.shape,
            {part.row_begin + piece.row_begin, part.row_begin + piece.row_end, part.column_begin + piece.column_begin,
             part.column_begin + piece.column_end},
            counted && (sharding == Sharding::kOverGradientGroup || is_first));
    }
  }
}

void ShardedState::add(const std::string& name, Shape shape, Box box, bool saved_here) {
  buffers_.push_back(kernels_.allocate(box.elements() * size_of(dtype_)));
  const Shape local = shape.rank() == 1 ? Shape{box.columns()} : Shape{box.rows(), box.columns()};
  tensors_.push_back({name, shape, box, Tensor(buffers_.back()->data(), dtype_, kernels_.device(), local), saved_here});
}

void ShardedState::fill(uint64_t seed, Rounding rounding) {
  for (const StateTensor& tensor : tensors_) {
    const std::vector<double> values = values_of(tensor, seed, rounding);
    const std::vector<float> narrow(values.begin(), values.end());
    kernels_.upload(dtype_ == DType::kF64 ? static_cast<const void*>(values.data()) : narrow.data(), tensor.data);
  }
}

int64_t ShardedState::differences(uint64_t seed, Rounding rounding) const {
  int64_t count = 0;
  for (const StateTensor& tensor : tensors_) {
    const std::vector<double> expected = values_of(tensor, seed, rounding);
    std::vector<double> wide(expected.size());
    std::vector<float> narrow(expected.size());
    kernels_.download(tensor.data, dtype_ == DType::kF64 ? static_cast<void*>(wide.data()) : narrow.data());
    for (size_t i = 0; i < expected.size(); ++i) {
      count += dtype_ == DType::kF64 ? wide[i] != expected[i] : narrow[i] != static_cast<float>(expected[i]);
    }
  }
  return count;
}

std::vector<SourceFile> some_source_files() {
  return {{"config.json", "{}\n"},
          {"tokenizer.json", std::string(1000, 't')},
          {"additional_chat_templates/rag.jinja", "{{ x }}"}};
}

}  // namespace ropewalk
