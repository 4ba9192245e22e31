// A model as a checkpoint's configuration describes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "trainer/config/config.h"

namespace ropewalk {

// The group `model` as protobuf text (configs/ropewalk.proto), with the shortest pattern.
std::string model_text(const ModelConfig& model);

// The group `model` of the configuration that a checkpoint holds, as protobuf text: the model after `steps` steps of
// the run, so layers with RoPE have the theta of the stage of the last step. Throws ConfigurationError if the text,
// which the error calls `name`, cannot be read or has no such group.
std::string model_group_of(std::string_view config_text, int64_t steps, const std::string& name);

// The longest data.sequence_length, or that of a stage, which the first `steps` steps of a run used; 0 if the text has
// none, as of a checkpoint that was imported.
int64_t longest_sequence_in(std::string_view config_text, int64_t steps);

// data.tokenizer; empty if it is not set.
std::string tokenizer_in(std::string_view config_text);

}  // namespace ropewalk
