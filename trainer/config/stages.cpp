#include "trainer/config/stages.h"

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk {

size_t stage_at(const TrainingConfig& training, int64_t steps_done) {
  const std::vector<Stage>& stages = training.stages;
  const auto later = std::ranges::upper_bound(stages, steps_done, {}, &Stage::first_step);
  CHECK(later != stages.begin(), "no stage begins before step {}", steps_done);
  return static_cast<size_t>(later - stages.begin()) - 1;
}

int64_t before_last_step(int64_t steps_done) { return std::max<int64_t>(steps_done, 1) - 1; }

int64_t steps_left_in(const TrainingConfig& training, size_t stage, int64_t steps_done) {
  const bool last = stage + 1 == training.stages.size();
  const int64_t end = last ? training.steps : training.stages[stage + 1].first_step;
  return std::max<int64_t>(0, end - std::max(steps_done, training.stages[stage].first_step));
}

bool fits(const Stage& stage, const MeshShape& mesh) {
  return stage.sequence_length >= 2 * mesh.context_parallel &&
         stage.batch % (mesh.data_parallel * stage.micro_batch) == 0;
}

std::vector<DataSource> sources_of(const Stage& stage) {
  return stage.blend.empty() ? std::vector<DataSource>{{stage.prefix}} : stage.blend;
}

std::string data_text(const Stage& stage) {
  if (stage.blend.empty()) return stage.prefix;
  double total = 0;
  for (const DataSource& source : stage.blend) total += source.weight;
  std::string text;
  for (const DataSource& source : stage.blend)
    text += fmt::format("{}{:.3g} of {}", text.empty() ? "" : ", ", source.weight / total, source.prefix);
  return text;
}

std::string stage_text(const Stage& stage) {
  const std::string theta = stage.theta ? fmt::format(", theta {}", *stage.theta) : "";
  return fmt::format("sequences of {} tokens, {} a step{}", stage.sequence_length, stage.batch, theta);
}

}  // namespace ropewalk
