// The safetensors file format (github.com/huggingface/safetensors): 8 bytes of header length, little-endian; the
// header, a JSON object padded with spaces; the data, row-major and little-endian. The header maps each tensor's name
// to its dtype, shape and data_offsets, and "__metadata__" to strings.
//
// The reader trusts nothing: it checks everything before it allocates, and takes only files whose data are covered by
// the tensors exactly once. It is stricter than the format's own library in two places: the header begins with '{', and
// no key comes twice.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.h"
#include "trainer/files/input_file.h"

namespace ropewalk {

using SafetensorsMetadata = std::map<std::string, std::string>;

// ---- writing --------------------------------------------------------------------------------------------------------

struct SafetensorsTensor {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
};

// What a file begins with; the data of `tensors` follow, one after another without gaps, in this order. Wider elements
// must come before narrower ones, so that all data are aligned.
std::string safetensors_header(std::span<const SafetensorsTensor> tensors, const SafetensorsMetadata& metadata);

// ---- reading --------------------------------------------------------------------------------------------------------

struct SafetensorsEntry {
  std::string name;
  std::string dtype;           // one of the format's names: "F32", "BF16", ...
  std::vector<int64_t> shape;  // empty for a scalar
  int64_t begin, end;          // bytes of its data, counted from where the data begin
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of their data
  SafetensorsMetadata metadata;
  int64_t data_begin = 0;  // in the file
  uint32_t crc32c = 0;     // of the file's first data_begin bytes
};

// Throw CheckpointError, saying which rule is broken.
SafetensorsHeader read_safetensors_header(const InputFile& file);
SafetensorsHeader parse_safetensors_header(std::string_view json, int64_t data_bytes);  // data_begin, crc32c stay 0

const char* safetensors_name(DType dtype);                         // "F32"
std::optional<DType> dtype_of_safetensors(std::string_view name);  // nullopt: a type that we have not

}  // namespace ropewalk
