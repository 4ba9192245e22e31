// The safetensors file format (github.com/huggingface/safetensors): 8 bytes of header length, little-endian; the
// header, a JSON object padded with spaces; the data, row-major and little-endian. The header maps each tensor's name
// to its dtype, shape and data_offsets, and "__metadata__" to strings.
//
// The reader trusts nothing: it checks everything before it allocates, and accepts only files in which the tensors
// cover the data exactly once. It is stricter than the format's own library in two points: the header must begin with
// '{', and no key may occur twice.
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

// Returns the beginning of a file: header length and header. The data of `tensors` must follow in this order, without
// gaps. Tensors of wider elements must come before those of narrower ones, so that all data are aligned.
std::string safetensors_header(std::span<const SafetensorsTensor> tensors, const SafetensorsMetadata& metadata);

// ---- reading --------------------------------------------------------------------------------------------------------

struct SafetensorsEntry {
  std::string name;
  std::string dtype;           // one of the format's names: "F32", "BF16", ...
  std::vector<int64_t> shape;  // empty for a scalar
  int64_t begin, end;          // byte range of its data, relative to data_begin
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of their data
  SafetensorsMetadata metadata;
  int64_t data_begin = 0;  // in the file
  uint32_t crc32c = 0;     // of the file's first data_begin bytes
};

// Both throw CheckpointError naming the broken rule.
SafetensorsHeader read_safetensors_header(const InputFile& file);
SafetensorsHeader parse_safetensors_header(std::string_view json, int64_t data_bytes);  // leaves data_begin, crc32c 0

const char* safetensors_name(DType dtype);                         // "F32"
std::optional<DType> dtype_of_safetensors(std::string_view name);  // nullopt: a type that DType lacks

}  // namespace ropewalk
