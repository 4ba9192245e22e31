// The state of training that a checkpoint holds beside the tensors (trainer/model/state_tensor.h): a few numbers. The
// data order is a function of order_samples, the learning rate of step, random draws of seeds: nothing else needs
// saving.
#pragma once

#include <string>
#include <vector>

#include "trainer/data/identity.h"
#include "trainer/model/state_tensor.h"

namespace ropewalk {

// What a checkpoint says of the run that wrote it, so that one that goes on from it can tell what changed.
struct RunDescription {
  std::string config_text;  // resolved
  std::vector<DataIdentity> data;
};

struct TrainingProgress {
  int64_t step = 0;              // optimizer steps done
  int64_t consumed_samples = 0;  // training sequences consumed, over all ranks
  int64_t consumed_tokens = 0;
  int64_t order_begin = 0;    // Stage::order_begin of the last step's stage
  int64_t order_samples = 0;  // of consumed_samples, those taken in that order
  bool operator==(const TrainingProgress&) const = default;
};

}  // namespace ropewalk
