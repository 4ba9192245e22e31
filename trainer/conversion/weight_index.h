// model.safetensors.index.json: which file of a sharded model holds each tensor.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace ropewalk {

using WeightMap = std::map<std::string, std::string>;  // tensor -> file

// Throws DataError naming the problem: no JSON of this form, or a file name that is not a plain name of the directory.
WeightMap parse_weight_index(std::string_view json);

// bytes: of the data of all tensors. parameters: elements of all tensors.
std::string weight_index_text(const WeightMap& files, int64_t bytes, int64_t parameters);

}  // namespace ropewalk
