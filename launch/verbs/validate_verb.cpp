// `ropewalk validate`: all checks that are possible before a run is started.
#include <algorithm>
#include <iostream>
#include <optional>
#include <set>
#include <span>

#include "launch/process/output.h"
#include "launch/verbs/verbs.h"
#include "trainer/config/stages.h"
#include "trainer/data/indexed_dataset.h"
#include "trainer/metrics/progress.h"
#include "trainer/run/starting_point.h"
#include "trainer/train_loop.h"

namespace ropewalk {

namespace {

// "data/text: 120 tokens in 3 documents, all in [0, 257); 14 sequences of 8 tokens an epoch, and 0 for validation; this
// stage takes 1.43 epochs".
std::string describe(const Dataset& dataset, const Config& config, const Stage& stage, double samples) {
  const uint64_t validation = dataset.validation ? dataset.validation->samples_per_epoch() : 0;
  const uint64_t sequences = dataset.training->samples_per_epoch();
  return fmt::format("{}: {} in {}, all in [0, {}); {} of {} an epoch, and {} for validation; {} takes {:.3g} epochs\n",
                     dataset.prefix, counted(dataset.tokens, "token"), counted(dataset.documents, "document"),
                     config.model.vocabulary, counted(sequences, "sequence"), counted(stage.sequence_length, "token"),
                     validation, config.training.stages.size() == 1 ? "the run" : "the stage",
                     dataset.share * samples / static_cast<double>(sequences));
}

std::string notes(const char* use, const Samples& samples) {
  const std::string told = samples.notes();
  return told.empty() ? "" : fmt::format("  {}{}\n", use, told);
}

// Checks the index and every token of each stage's data, and describes the data.
std::string data_report(const Config& config) {
  StatusLine line(std::cerr, Terminal::of_stderr());
  std::set<const IndexedDataset*> checked;
  std::string report;
  const RunData data = open_run_data(config);
  const std::vector<Dataset>& datasets = data.datasets;
  for (size_t i = 0; i < datasets.size(); ++i) {
    const Stage& stage = config.training.stages[i];
    const double samples = static_cast<double>(steps_left_in(config.training, i)) * static_cast<double>(stage.batch);
    const std::span<const Dataset> parts = parts_of(datasets[i]);
    for (const Dataset& part : parts) {
      if (checked.insert(part.file.get()).second) {
        WorkProgress progress(line, "checking tokens", static_cast<double>(part.tokens), count_text);
        part.file->check([&](int64_t tokens) { progress.at(static_cast<double>(tokens)); });
      }
      report += i > 0 ? fmt::format("after step {}: ", stage.first_step) : "";
      report += parts.size() > 1 ? fmt::format("{:.3g} of the samples from ", part.share) : "";
      report += describe(part, config, stage, samples);
      report +=
          notes("to train on: ", *part.training) + (part.validation ? notes("for validation: ", *part.validation) : "");
    }
  }
  if (data.tokenizer.made_by)
    report += fmt::format("tokenizer: {}\n", tokenizer_text(data.tokenizer.made_by->identity));
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
