// The configuration of a run: reads the protobuf text of configs/ropewalk.proto, applies overrides, checks everything,
// and hands out a Config. All problems come at once, in one ConfigurationError.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "trainer/config/config.h"

namespace ropewalk {

// The file's bytes; at most 16 MiB of them. Throws ConfigurationError.
std::string read_config_file(const std::filesystem::path& file);

// text: protobuf text, which messages call `name`. overrides: "training.learning_rate=3e-4" (config_text.h), a later one wins.
// world_size: ranks of the job; absent: as many as the mesh needs, where data_parallel 0 counts as 1.
// steps_done: of the run that goes on; stages that are over need not fit the mesh. Throws ConfigurationError.
Config parse_config(std::string_view text, const std::string& name, std::span<const std::string> overrides,
                    std::optional<int> world_size, int64_t steps_done = 0);
// output.directory of such a text, whatever is wrong with the rest of it; empty where it is not there.
std::string output_directory_in(std::string_view text, const std::string& name, std::span<const std::string> overrides);

Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides,
                   std::optional<int> world_size);

}  // namespace ropewalk
