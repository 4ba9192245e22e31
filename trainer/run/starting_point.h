// Where a run begins: at its newest checkpoint; if it has none, at training.start_from; else at the initial weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "trainer/config/load_config.h"

namespace ropewalk {

struct StartingPoint {
  int64_t step = 0;            // steps that the run has done already
  CheckpointModel model = {};  // of the checkpoint that the run starts from; pass it to parse_config()
};

// text, name, overrides: of the configuration, which may have problems. step: the run resumes from its checkpoint of
// this step (0: from none); absent: from the newest. Reads manifests only, and only if the configuration needs them.
// Does not throw if a checkpoint cannot be read: StartingPoint::model says why, and parse_config() reports it. If the
// newest is damaged, the model is that of an older one, to which the load also goes back. If there is no checkpoint of
// `step`, the model is that of another, and the load reports it.
StartingPoint find_starting_point(std::string_view text, const std::string& name,
                                  std::span<const std::string> overrides, std::optional<int64_t> step = std::nullopt);

// The configuration in a file, completed from the checkpoint that its run starts from. Parameters as of parse_config().
// Throws ConfigurationError.
Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides,
                   std::optional<int> world_size);

}  // namespace ropewalk
