// The configuration of a run: reads the protobuf text of configs/ropewalk.proto, applies overrides, checks everything,
// and returns a Config. All problems are reported at once, in one ConfigurationError.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "trainer/config/checkpoint_model.h"
#include "trainer/config/config.h"

namespace ropewalk {

// Returns the file's bytes; of a longer file only the first 16 MiB + 1, from which parse_config() sees that the file
// exceeds its limit of 16 MiB. Throws ConfigurationError.
std::string read_config_file(const std::filesystem::path& file);

// text: protobuf text; error messages call it `name`.
// overrides: "training.learning_rate=3e-4" (config_text.h); the last one for a field wins.
// world_size: ranks of the job; absent: as many as the mesh needs, with data_parallel 0 counted as 1.
// steps_done: steps that a resumed run has done already; stages that ended by then need not fit the mesh.
// checkpoint: completes the group `model` of the text, so that overrides can change entries of its pattern.
// Throws ConfigurationError.
Config parse_config(std::string_view text, const std::string& name, std::span<const std::string> overrides,
                    std::optional<int> world_size, int64_t steps_done = 0, const CheckpointModel& checkpoint = {});
// The configuration of a job that only computes with the model: from the text of the group `model`
// (model_group_of(), model_text.h), and overrides of fields of model and parallel, or of training.precision and
// training.loss_chunk. Its one stage has a batch of one sequence for each data-parallel rank; the caller sets the
// stage's sequence_length. Throws ConfigurationError.
Config parse_inference_config(std::string_view model_text, const std::string& name,
                              std::span<const std::string> overrides, std::optional<int> world_size);

// What decides where a run begins.
struct ConfigOutline {
  std::string output_directory, start_from;  // empty if the field is not set
  bool has_whole_model = false;              // every field of the group `model` is set
};
// Of a configuration that may have problems, which are not reported. After a syntax error nothing more is read.
ConfigOutline outline_of(std::string_view text, const std::string& name, std::span<const std::string> overrides);

}  // namespace ropewalk
