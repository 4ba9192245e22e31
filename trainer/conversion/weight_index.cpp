#include "trainer/conversion/weight_index.h"

#include "kernels/error.h"
#include "trainer/files/plain_name.h"
#include "trainer/formats/json_tree.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr std::string_view kExtension = ".safetensors";

// A file in the directory itself, whatever the index says.
bool is_shard_name(std::string_view name) {
  return is_plain_name(name) && name.size() > kExtension.size() && name.ends_with(kExtension);
}

}  // namespace

WeightMap parse_weight_index(std::string_view json) {
  const JsonNode index = parse_json(json);
  const JsonNode* map = index.find("weight_map");
  if (!map || map->kind != JsonNode::Kind::kObject) throw DataError("it has no object weight_map");
  WeightMap files;
  for (const auto& [tensor, file] : map->members) {
    if (file.kind != JsonNode::Kind::kText || !is_shard_name(file.text))
      throw DataError(
          fmt::format("the file of tensor {} is {}; a name like model-00001-of-00002.safetensors is expected",
                      in_quotes(tensor), in_quotes(file.kind == JsonNode::Kind::kText ? file.text : json_text(file))));
    files[tensor] = file.text;
  }
  if (files.empty()) throw DataError("its weight_map is empty");
  return files;
}

std::string weight_index_text(const WeightMap& files, int64_t bytes, int64_t parameters) {
  JsonNode map = JsonNode::object();
  for (const auto& [tensor, file] : files) map.members.emplace_back(tensor, JsonNode(file));
  JsonNode index = JsonNode::object();
  index.set("metadata",
            JsonNode::object({{"total_parameters", JsonNode(parameters)}, {"total_size", JsonNode(bytes)}}));
  index.set("weight_map", std::move(map));
  return indented_json_text(index);
}

}  // namespace ropewalk
