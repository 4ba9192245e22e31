// A family of Hugging Face models: how its config.json and its tensors correspond to a model of ours, in both
// directions. Each family is one file in this folder (cohere.cpp). To add one, write its file, declare its function
// here, and list it in families.cpp.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.h"
#include "trainer/config/config.h"
#include "trainer/conversion/config_keys.h"
#include "trainer/formats/json_tree.h"

namespace ropewalk {

// What a config.json says beyond the model.
struct ExportFacts {
  DType dtype = DType::kF32;                    // of the matrices
  int64_t longest_sequence = 0;                 // that the model was trained on; 0: not trained here
  std::optional<int64_t> end_of_document = {};  // the tokenizer's id, for a model without a source
};

struct ModelFamily {
  const char* model_type;    // "cohere2", in config.json
  const char* architecture;  // "Cohere2ForCausalLM"

  // Reads every key of config.json; what does not fit is refused through `keys`. If keys are refused, the result is
  // some valid model.
  ModelConfig (*read)(ConfigKeys& keys);

  // Why this family cannot express the model: "layer 3 has full attention with RoPE"; "" if it can.
  std::string (*obstacle)(const ModelConfig& model);
  // Sets the family's keys in `config`: the source's config.json, or an empty object.
  void (*write)(const ModelConfig& model, const ExportFacts& facts, JsonNode& config);
  // Which other programs cannot load the model, and why; one line each.
  std::vector<std::string> (*limits)(const ModelConfig& model);

  // Their name of our parameter. Shape, elements and their order are the same on both sides.
  std::string (*their_name)(const std::string& ours);
  // Their tensors that some files hold in addition: a copy of another tensor, or a value that follows from config.json.
  // Returns the name of the tensor that it must equal, "" for a value that is not needed, nullopt for other tensors.
  std::optional<std::string> (*redundant)(const std::string& theirs);
};

const ModelFamily& cohere_family();   // Command R, Command R+, Aya
const ModelFamily& cohere2_family();  // Command R7B, Command A

std::span<const ModelFamily* const> model_families();
// model_type: "" if it is missing. Throws ConfigurationError, with the known types, for any other. name: what the
// message calls the file.
const ModelFamily& family_of_type(const std::string& model_type, const std::string& name);
// The first family that can express the model. Throws ConfigurationError with the obstacle of each.
const ModelFamily& family_for(const ModelConfig& model);

}  // namespace ropewalk
