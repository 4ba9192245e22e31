#include "trainer/config/stage_rules.h"

#include <algorithm>
#include <vector>

#include "configs/ropewalk.pb.h"
#include "kernels/error.h"
#include "trainer/config/field_names.h"
#include "trainer/config/field_rules.h"

namespace ropewalk {

namespace {

// A number that a stage uses, and the field that sets it: the stage's own, or that of an earlier stage.
struct Setting {
  std::string field;
  int64_t value = 0;
};

struct StageSettings {
  Setting first_step, length, batch, micro_batch;
};

std::vector<StageSettings> settings_of(const proto::Config& config) {
  const proto::Training& training = config.training();
  std::vector<StageSettings> stages = {{.first_step = {"", 0},
                                        .length = {"data.sequence_length", config.data().sequence_length()},
                                        .batch = {"training.batch", training.batch()},
                                        .micro_batch = {"training.micro_batch", training.micro_batch()}}};
  for (int i = 0; i < training.stages_size(); ++i) {
    const proto::Stage& from = training.stages(i);
    const std::string path = fmt::format("training.stages.{}", i);
    StageSettings stage = stages.back();
    stage.first_step = {path + ".first_step", from.first_step()};
    if (from.has_sequence_length()) stage.length = {path + ".sequence_length", from.sequence_length()};
    if (from.has_batch()) stage.batch = {path + ".batch", from.batch()};
    if (from.has_micro_batch()) stage.micro_batch = {path + ".micro_batch", from.micro_batch()};
    stages.push_back(stage);
  }
  return stages;
}

class StageChecker {
 public:
  StageChecker(const proto::Config& config, int64_t steps_done, Problems& problems)
      : config_(config), stages_(settings_of(config)), steps_done_(steps_done), problems_(problems) {}

  void check() {
    for (size_t i = 0; i < stages_.size(); ++i) {
      const StageSettings &stage = stages_[i], &before = stages_[i > 0 ? i - 1 : 0];
      const bool new_length = i == 0 || stage.length.field != before.length.field;
      const bool new_micro_batch = i == 0 || stage.micro_batch.field != before.micro_batch.field;
      const bool new_batch = i == 0 || stage.batch.field != before.batch.field;
      const bool first_to_come = i > 0 && is_over(i - 1);
      if (i > 0) check_first_step(stage.first_step, before.first_step);
      if (!is_over(i) && (new_length || first_to_come)) check_length(stage.length);
      if (!is_over(i) && (new_batch || new_micro_batch || first_to_come)) check_batch(stage);
      if (new_length || new_micro_batch) check_micro_batch(stage);
    }
    check_theta();
    check_tokens();
    check_position_ranges();
  }

 private:
  // The last stage is never over: raising training.steps would continue it.
  bool is_over(size_t stage) const {
    return stage + 1 < stages_.size() && stages_[stage + 1].first_step.value <= steps_done_;
  }
  bool usable(const std::string& field) const { return !problems_.is_unreadable(field); }
  bool usable(const Setting& setting) const { return usable(setting.field); }
  void problem(const Setting& setting, const std::string& rule, const std::string& remedy) {
    problems_.add({setting.field, std::to_string(setting.value), rule, remedy});
  }

  void check_first_step(const Setting& first_step, const Setting& before) {
    if (!usable(first_step)) return;
    const int64_t steps = config_.training().steps();
    if (usable("training.steps") && first_step.value >= steps)
      problem(first_step, fmt::format("must be less than training.steps = {}", steps),
              "begin the stage earlier, make the run longer, or leave the stage out");
    if (!before.field.empty() && usable(before) && first_step.value <= before.value)
      problem(first_step, fmt::format("must be greater than {} = {}", before.field, before.value),
              "list the stages in the order in which they come");
  }

  void check_length(const Setting& length) {
    const int64_t context = config_.parallel().context_parallel();
    if (!usable(length) || !usable("parallel.context_parallel") || length.value >= 2 * context) return;
    problem(length,
            fmt::format("must be at least 2 x parallel.context_parallel = {}: each rank holds two chunks of a sequence",
                        2 * context),
            "make the sequence longer, or split it over fewer ranks");
  }

  void check_batch(const StageSettings& stage) {
    if (!usable(stage.batch) || !usable(stage.micro_batch)) return;
    const int64_t data = config_.parallel().data_parallel(), share = data * stage.micro_batch.value;
    const bool mesh_known = data > 0 && usable("parallel.data_parallel") && usable("parallel.context_parallel") &&
                            usable("parallel.tensor_parallel");
    if (mesh_known && stage.batch.value % share != 0)
      problem(stage.batch,
              fmt::format("must be a multiple of data_parallel = {} x {} = {}", data, stage.micro_batch.field,
                          stage.micro_batch.value),
              set_to_multiple(stage.batch.field, stage.batch.value, share));
  }

  void check_micro_batch(const StageSettings& stage) {
    const auto& [_, length, batch, micro_batch] = stage;
    if (!usable(length) || !usable(micro_batch) || micro_batch.value * length.value <= kMostPositions) return;
    problem(micro_batch,
            fmt::format("times {} = {} must be at most {} tokens", length.field, length.value, kMostPositions),
            "make micro_batch smaller: gradients accumulate over the micro-batches of a batch");
  }

  void check_theta() {
    const proto::Model& model = config_.model();
    const auto rotary = [](const proto::Layer& layer) { return layer.position() == proto::ROPE; };
    if (model.pattern().empty() || std::ranges::any_of(model.pattern(), rotary)) return;
    for (int i = 0; i < model.pattern_size(); ++i)
      if (!usable(fmt::format("model.pattern.{}.position", i))) return;
    for (int i = 0; i < config_.training().stages_size(); ++i) {
      const proto::Stage& stage = config_.training().stages(i);
      const std::string field = fmt::format("training.stages.{}.theta", i);
      if (stage.has_theta() && usable(field))
        problems_.add({field, fmt::format("{}", stage.theta()), "is the base of rotary angles, and no layer has them",
                       "leave it out, or give layers of model.pattern position: ROPE"});
    }
  }

  // Even if each size is in range, their product may be more tokens than can be counted.
  void check_tokens() {
    const int64_t steps = config_.training().steps();
    if (!usable("training.steps")) return;
    double tokens = 0;
    for (size_t i = 0; i < stages_.size(); ++i) {
      const auto& [first_step, length, batch, _] = stages_[i];
      const int64_t end = i + 1 < stages_.size() ? stages_[i + 1].first_step.value : steps;
      if (!usable(first_step) || !usable(length) || !usable(batch)) return;
      tokens += static_cast<double>(end - first_step.value) * static_cast<double>(batch.value * length.value);
    }
    if (tokens > kMostTokens)
      problem({"training.steps", steps},
              fmt::format("makes, with batch and sequence_length, {:.3g} tokens; at most {:.3g} can be counted", tokens,
                          kMostTokens),
              "check the sizes for a typing error");
  }

  void check_position_ranges() {
    const int64_t ranges = config_.validation().position_ranges();
    const auto shorter = [](const StageSettings& a, const StageSettings& b) { return a.length.value < b.length.value; };
    const Setting& shortest = std::ranges::min_element(stages_, shorter)->length;
    if (usable("validation.position_ranges") && usable(shortest) && ranges > shortest.value)
      problem({"validation.position_ranges", ranges},
              fmt::format("must be at most {} = {}", shortest.field, shortest.value), "usual values are 4 to 16");
  }

  const proto::Config& config_;
  const std::vector<StageSettings> stages_;
  const int64_t steps_done_;
  Problems& problems_;
};

}  // namespace

std::string set_to_multiple(const std::string& field, int64_t value, int64_t factor) {
  const int64_t below = value / factor * factor;
  if (below == 0) return fmt::format("set {} to {}", field, factor);
  return fmt::format("set {} to {} or {}", field, below, below + factor);
}

void check_stages(const proto::Config& config, int64_t steps_done, Problems& problems) {
  StageChecker(config, steps_done, problems).check();
}

}  // namespace ropewalk
