// The stages of a run: which stage a step belongs to, how many steps of a stage are left, and whether it fits a mesh.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/config.h"

namespace ropewalk {

// The stage of the step that follows `steps_done` steps, as an index into TrainingConfig::stages.
size_t stage_at(const TrainingConfig& training, int64_t steps_done);

// Returns max(steps_done - 1, 0): the steps that were done when the latest step began. A checkpoint belongs to the
// stage of its last step, stage_at(before_last_step(steps_done)), even if the stage ends with that step.
int64_t before_last_step(int64_t steps_done);

// How many steps of the stage are left after `steps_done` steps of the run.
int64_t steps_left_in(const TrainingConfig& training, size_t stage, int64_t steps_done = 0);

// Whether the mesh can split the stage: its sequence_length must be at least 2 x context_parallel, its batch a multiple
// of data_parallel x micro_batch. A stage that ended before a run resumes need not fit.
bool fits(const Stage& stage, const MeshShape& mesh);

// The datasets of the stage: those of its blend, or the one with its prefix.
std::vector<DataSource> sources_of(const Stage& stage);
// "data/text", or "0.7 of data/text, 0.3 of data/code".
std::string data_text(const Stage& stage);

// "sequences of 32768 tokens, 8 a step, theta 500000".
std::string stage_text(const Stage& stage);

}  // namespace ropewalk
