// The state of training that a checkpoint holds beside the tensors (trainer/model/state_tensor.h): a few numbers.
// Nothing else needs saving: the position in the data follows from (data.seed, order_begin, order_samples), the
// learning rate from step, random draws from seeds.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainer/data/data_tokenizer.h"
#include "trainer/data/identity.h"
#include "trainer/model/state_tensor.h"

namespace ropewalk {

// A small file of the Hugging Face model from which the weights come, such as tokenizer.json. Checkpoints carry these
// files along, unchanged, so that an export can write them beside the weights.
struct SourceFile {
  std::string name;  // at most one folder deep: "additional_chat_templates/tool_use.jinja"
  std::string bytes;
  bool operator==(const SourceFile&) const = default;
};

// Describes the run that wrote a checkpoint, so that a run that resumes from it can report what changed.
struct RunDescription {
  std::string config_text;  // resolved; of an imported model only the group `model`
  std::vector<DataIdentity> data;
  std::vector<SourceFile> source_files = {};      // on rank 0 only
  std::optional<TokenizerOfData> tokenizer = {};  // nullopt: not known
};

struct TrainingProgress {
  int64_t step = 0;              // optimizer steps done
  int64_t consumed_samples = 0;  // training sequences consumed, over all ranks
  int64_t consumed_tokens = 0;
  int64_t order_begin = 0;    // Stage::order_begin of the last step's stage
  int64_t order_samples = 0;  // of consumed_samples: those consumed in that order
  bool operator==(const TrainingProgress&) const = default;
};

}  // namespace ropewalk
