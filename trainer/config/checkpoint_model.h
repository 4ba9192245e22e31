// The model of the checkpoint from which a run starts: it completes the configuration's group `model`; its shape must
// be the configuration's; and in other fields the two may differ, which the run reports.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/problems.h"

namespace ropewalk {

namespace proto {
class Config;
class Model;
}  // namespace proto

struct CheckpointModel {
  std::string checkpoint = {};  // its path, for messages; empty: the run starts from no checkpoint
  std::string text = {};        // model_group_of() its configuration (model_text.h); empty: it could not be read
  std::string problem = {};     // why it could not be read; else empty
  bool is_start_from = false;   // it is training.start_from; false: it is a checkpoint of the run itself
};

// Whether every field is set, also those that have defaults.
bool is_whole(const proto::Model& model);

// The group `model` in its text; empty if there is none.
proto::Model model_of(const CheckpointModel& checkpoint);

// Sets each field of config.model that is not set to the value in `inherited`, which is model_of(checkpoint). A pattern
// without entries counts as not set. The checkpoint is then the origin of these fields.
void complete_model(const CheckpointModel& checkpoint, const proto::Model& inherited, proto::Config& config,
                    Problems& problems);

// Records that the checkpoint could not be read, if it is training.start_from or if the model lacks fields without it.
// Later rules skip the fields that the model lacks.
void check_readable(const CheckpointModel& checkpoint, const proto::Config& config, Problems& problems);

// If the checkpoint is training.start_from, records each field in which its shape differs from the configuration's:
// the sizes, and the QK-Norm of the layers. A checkpoint of the run itself is checked when it is loaded.
void check_shape(const CheckpointModel& checkpoint, const proto::Model& inherited, const proto::Config& config,
                 Problems& problems);

// One line for each field, except those of the shape, in which the models differ: "model.pattern.0.theta: 50000 in the
// checkpoint, 2000000 here". Each entry of this configuration's pattern is compared with the checkpoint's layers for
// which it stands. initializer_range is left out: loaded weights do not depend on it. checkpoint_model: as
// CheckpointModel::text; this_config: the text of a configuration. Throws ConfigurationError if one cannot be read.
std::vector<std::string> model_changes(const std::string& checkpoint_model, const std::string& this_config);

}  // namespace ropewalk
