// `ropewalk plan`: what a step takes on each rank, before anything is launched.
#include <algorithm>
#include <charconv>
#include <optional>

#include "launch/estimate_report.h"
#include "launch/process/output.h"
#include "launch/verbs/verbs.h"
#include "parallel/mesh.h"
#include "trainer/config/load_config.h"
#include "trainer/config/stages.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

[[noreturn]] void refuse_mesh(const std::string& text, const std::string& why) {
  throw ConfigurationError(fmt::format(
      "--mesh {}: {}; write dp=N,cp=N,tp=N for data_parallel, context_parallel and tensor_parallel", text, why));
}

// "dp=1,cp=8" as settings of the fields; those that are left out are 1.
std::vector<std::string> mesh_settings(const std::string& text) {
  const std::pair<const char*, const char*> axes[] = {
      {"dp", "parallel.data_parallel"}, {"cp", "parallel.context_parallel"}, {"tp", "parallel.tensor_parallel"}};
  std::vector<std::optional<int64_t>> sizes(std::size(axes));
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size()), equals = text.find('=', begin);
    const std::string name = text.substr(begin, std::min(equals, end) - begin);
    const auto axis = std::ranges::find_if(axes, [&](const auto& known) { return name == known.first; });
    if (axis == std::end(axes)) refuse_mesh(text, fmt::format("there is no axis \"{}\"", printable_text(name)));
    auto& size = sizes[static_cast<size_t>(axis - std::begin(axes))];
    if (size) refuse_mesh(text, name + " is given twice");
    int64_t value = 0;
    const char* const last = text.data() + end;
    const auto read = std::from_chars(text.data() + std::min(equals, end - 1) + 1, last, value);
    if (equals >= end || read.ec != std::errc() || read.ptr != last || value < 1 || value > kMostRanks)
      refuse_mesh(text, fmt::format("{} must be a number from 1 to {}", name, kMostRanks));
    size = value;
    begin = end + 1;
  }
  std::vector<std::string> settings;
  for (size_t i = 0; i < sizes.size(); ++i)
    settings.push_back(fmt::format("{}={}", axes[i].second, sizes[i].value_or(1)));
  return settings;
}

std::string work_text(const Stage& stage, Purpose purpose) {
  if (purpose == Purpose::kTraining) return stage_text(stage);
  return fmt::format("a forward pass of {} of {} tokens", counted(stage.micro_batch, "sequence"),
                     stage.sequence_length);
}

ExitCode run(const Arguments& arguments, const Launcher& launcher) {
  const std::string& file = arguments.positional().front();
  std::vector<std::string> settings = arguments.values("set");
  if (arguments.has("mesh"))
    for (const std::string& setting : mesh_settings(arguments.value("mesh"))) settings.push_back(setting);
  const bool mesh_given = arguments.has("mesh") && !arguments.has("ranks");  // which then says how many there are
  const Config config = load_config(file, settings, mesh_given ? std::nullopt : ranks_of(arguments, launcher));
  const Purpose purpose = arguments.has("inference") ? Purpose::kInference : Purpose::kTraining;
  std::vector<MeshEstimate> stages;
  for (const Stage& stage : config.training.stages) stages.push_back(estimate_mesh(config, stage, purpose));
  if (arguments.has("json")) {
    print(estimate_json(stages, config, purpose));
    return ExitCode::kDone;
  }
  const MeshShape& mesh = config.parallel.mesh;
  std::string text = fmt::format("{} on {}: {}\n", file, counted(mesh.size(), "rank"), mesh_text(mesh));
  for (size_t i = 0; i < stages.size(); ++i)
    text += fmt::format("\nafter step {}: {}\n\n{}", config.training.stages[i].first_step,
                        work_text(config.training.stages[i], purpose), estimate_table(stages[i], config, purpose));
  print(text);
  return ExitCode::kDone;
}

}  // namespace

Verb plan_verb() {
  return {.name = "plan",
          .summary = "memory, bytes and arithmetic of a step, before anything is launched",
          .positional = {"CONFIG"},
          .about =
              "Goes through a training step of CONFIG without computing anything, and tells what each rank needs for "
              "it: memory\n"
              "by kind, bytes that it sends by axis of the mesh, arithmetic by kind. Neither the data nor the machines "
              "are needed.\n\n"
              "Activations are what the forward keeps for the backward (training.recompute makes them fewer, "
              "context_parallel\n"
              "and tensor_parallel share them); working memory is what an operation needs while it runs. Bytes are "
              "those of the\n"
              "host communicators; where documents are packed into the sequences, less is sent and computed. With "
              "--inference the\n"
              "same of a forward pass of one micro-batch, by ranks that evaluate.",
          .groups = {{"Options",
                      {{"mesh", "dp=N,cp=N,tp=N", "the mesh, instead of CONFIG's; an axis that is left out is 1"},
                       {"ranks", "N", "ranks of the job; data_parallel 0 becomes what the other axes leave of them"},
                       {"set", "FIELD=VALUE", "set a field of CONFIG, as for train; may be repeated",
                        Option::Count::kRepeated},
                       {"inference", "",
                        "of a rank that evaluates: weights and a forward pass of one micro-batch, without gradients, "
                        "optimizer and kept activations"},
                       {"json", "", "print one JSON object, numbers in bytes and FLOP"}}}},
          .examples = {"ropewalk plan configs/command_r7b.textproto --mesh dp=1,cp=8,tp=4",
                       "ropewalk plan my.textproto --ranks 16 --set data.sequence_length=262144 --set "
                       "training.recompute=BLOCK",
                       "ropewalk plan configs/command_r7b.textproto --mesh tp=4 --inference"},
          .run = run};
}

}  // namespace ropewalk
