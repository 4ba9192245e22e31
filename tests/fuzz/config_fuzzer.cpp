// The input is the config.json of a Hugging Face model. It is refused with a DataError or ConfigurationError; or every
// key of it is reported, and the config.json that our export writes for the model reads as the same model.
#include <algorithm>
#include <cstdint>
#include <set>

#include "kernels/error.h"
#include "trainer/conversion/family.h"
#include "trainer/formats/json_tree.h"

namespace ropewalk {
namespace {

struct Read {
  const ModelFamily* family;
  ModelConfig model;
  std::vector<KeyReport> keys;
};

Read read(const JsonNode& config) {
  if (config.kind != JsonNode::Kind::kObject) throw DataError("it is no object");
  const std::set<std::string> ignored;
  ConfigKeys keys(config, ignored);
  const ModelFamily& family = family_of_type(keys.text("model_type").value_or(""), "config.json");
  const ModelConfig model = family.read(keys);
  keys.finish("config.json");
  return {&family, model, keys.reports()};
}

bool same(const LayerKind& a, const LayerKind& b) {
  return a.mask == b.mask && a.window == b.window && a.position == b.position && a.theta == b.theta &&
         a.qk_norm == b.qk_norm;
}

bool same(const ModelConfig& a, const ModelConfig& b) {
  const auto same_layer = [](const LayerKind& left, const LayerKind& right) { return same(left, right); };
  return std::ranges::equal(a.layers, b.layers, same_layer) && a.width == b.width && a.hidden == b.hidden &&
         a.query_heads == b.query_heads && a.key_heads == b.key_heads && a.head_size == b.head_size &&
         a.vocabulary == b.vocabulary && a.norm_epsilon == b.norm_epsilon && a.logit_scale == b.logit_scale &&
         a.initializer_range == b.initializer_range;
}

// Returns how many keys have a report.
size_t check_reports(const JsonNode& config, const std::vector<KeyReport>& reports, const std::string& prefix = "") {
  size_t count = 0;
  for (const auto& [name, value] : config.members) {
    const std::string key = prefix + name;
    if (std::ranges::any_of(reports, [&](const KeyReport& report) { return report.key == key; })) {
      ++count;
    } else {
      CHECK(value.kind == JsonNode::Kind::kObject && prefix.empty(), "no report of {}", key);
      count += check_reports(value, reports, key + ".");
    }
  }
  return count;
}

// base: the config.json into which the export writes.
void check_export(JsonNode base, const Read& source) {
  const std::string obstacle = source.family->obstacle(source.model);
  CHECK(obstacle.empty(), "a model that was read cannot be written: {}", obstacle);
  source.family->write(source.model, {}, base);
  const Read again = read(parse_json(indented_json_text(base)));
  CHECK(again.family == source.family && same(again.model, source.model), "the export is another model");
}

}  // namespace
}  // namespace ropewalk

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ropewalk;
  JsonNode config;
  Read source;
  try {
    config = parse_json({reinterpret_cast<const char*>(data), size});
    source = read(config);
  } catch (const DataError&) {  // clear refusals; any other exception is a fault
    return 0;
  } catch (const ConfigurationError&) {
    return 0;
  }
  const auto assumed = std::ranges::count(source.keys, KeyFate::kAssumed, &KeyReport::fate);
  const size_t reported = check_reports(config, source.keys);
  CHECK(reported + static_cast<size_t>(assumed) == source.keys.size(), "{} keys in {} reports", reported,
        source.keys.size());
  check_export(config, source);
  check_export(JsonNode::object(), source);
  return 0;
}
