// The stages of a run (training.stages): which one a step is in, how long it is, and what it makes of the model.
#pragma once

#include <string>

#include "trainer/config/config.h"

namespace ropewalk {

// The stage of the step that follows `steps_done` steps, as an index into training.stages.
size_t stage_at(const TrainingConfig& training, int64_t steps_done);

// The steps done before the last one of a run of `steps_done`: a checkpoint belongs to the stage of its last step,
// which may just be over.
int64_t before_last_step(int64_t steps_done);

// Steps of the stage, of those after the first `steps_done` of the run.
int64_t steps_left_in(const TrainingConfig& training, size_t stage, int64_t steps_done = 0);

// The mesh can share its sequences and its batch. A stage that is over when a run goes on need not.
bool fits(const Stage& stage, const MeshShape& mesh);

// "sequences of 32768 tokens, 8 a step, theta 500000".
std::string stage_text(const Stage& stage);

}  // namespace ropewalk
