// `ropewalk validate`: all checks that are possible before a run is started.
#include <algorithm>
#include <iostream>
#include <optional>
#include <set>

#include "launch/process/output.h"
#include "launch/verbs/verbs.h"
#include "trainer/data/indexed_dataset.h"
#include "trainer/data/samples.h"
#include "trainer/metrics/progress.h"
#include "trainer/run/starting_point.h"

namespace ropewalk {

namespace {

// Checks every token of each stage's data, and describes the data.
std::string data_report(const Config& config) {
  StatusLine line(std::cerr, Terminal::of_stderr());
  std::set<const IndexedDataset*> checked;
  std::string report;
  const std::vector<Dataset> datasets = open_datasets(config);
  for (size_t i = 0; i < datasets.size(); ++i) {
    const Dataset& dataset = datasets[i];
    const Stage& stage = config.training.stages[i];
    if (checked.insert(dataset.file.get()).second) {
      WorkProgress progress(line, "checking tokens", static_cast<double>(dataset.tokens), count_text);
      dataset.file->check([&](int64_t tokens) { progress.at(static_cast<double>(tokens)); });
    }
    const uint64_t validation = dataset.validation ? dataset.validation->samples_per_epoch() : 0;
    const std::string from = i > 0 ? fmt::format("after step {}: ", stage.first_step) : "";
    report += fmt::format("{}{}: {} in {}, all in [0, {}); {} of {} an epoch, and {} for validation\n", from,
                          stage.prefix, counted(dataset.tokens, "token"), counted(dataset.documents, "document"),
                          config.model.vocabulary, counted(dataset.training->samples_per_epoch(), "sequence"),
                          counted(stage.sequence_length, "token"), validation);
    if (const std::string notes = dataset.training->notes(); !notes.empty()) report += from + notes + "\n";
    if (dataset.validation && !dataset.validation->notes().empty())
      report += fmt::format("{}for validation: {}\n", from, dataset.validation->notes());
  }
  return report;
}

ExitCode run(const Arguments& arguments, const Launcher& launcher) {
  const std::string& file = arguments.positional().front();
  const Config config = load_config(file, arguments.values("set"), ranks_of(arguments, launcher));
  const std::string data = arguments.has("data") ? data_report(config) : "";
  if (arguments.has("print")) {
    std::cerr << data;
    print(config.resolved_text);
    return ExitCode::kDone;
  }
  const MeshShape& mesh = config.parallel.mesh;
  const size_t stages = config.training.stages.size();
  print(fmt::format("{} is in order: {}{}, {} ({})\n{}", file, counted(config.model.layers.size(), "layer"),
                    stages > 1 ? ", " + counted(stages, "stage") : "", counted(mesh.size(), "rank"), mesh_text(mesh),
                    data));
  return ExitCode::kDone;
}

}  // namespace

Verb validate_verb() {
  return {
      .name = "validate",
      .summary = "check a configuration without running it",
      .positional = {"CONFIG"},
      .about =
          "Checks CONFIG as `train` does, and prints all problems at once: each with its place, its value, the rule\n"
          "that it breaks, and what to do. This includes training.start_from: that the checkpoint exists, that its\n"
          "manifest is intact, and that it has the model's shape. Exit code 0 if there are none, 2 otherwise; 3 if\n"
          "the data are wrong.",
      .groups = {{"Options",
                  {{"ranks", "N", "number of ranks of the job. Default: as many as the mesh needs"},
                   {"set", "FIELD=VALUE", "set a field of CONFIG, as for train; may be repeated",
                    Option::Count::kRepeated},
                   {"data", "", "check the data too: the index, and that every token is in [0, model.vocabulary)"},
                   {"print", "", "print the complete configuration, with all defaults"}}}},
      .examples =
          {"ropewalk validate configs/rnope_swa.textproto --ranks 8 --set parallel.context_parallel=4",
           "ropewalk validate my.textproto --print > resolved.textproto      # my.textproto: yours, or a preset"},
      .run = run};
}

}  // namespace ropewalk
