// `ropewalk validate`: everything that can be known of a run before it is started.
#include <algorithm>
#include <iostream>
#include <optional>

#include "launch/verbs.h"
#include "trainer/config/load.h"
#include "trainer/data/samples.h"

namespace ropewalk {

namespace {

std::optional<int> ranks_of(const Arguments& arguments, const Launcher& launcher) {
  constexpr int64_t kMost = 1 << 20;  // far more than there are
  if (const auto ranks = arguments.whole_number("ranks", 1)) return static_cast<int>(std::min(*ranks, kMost));
  return launcher.started_us() ? std::optional(launcher.size) : std::nullopt;
}

ExitCode run(const Arguments& arguments, const Launcher& launcher) {
  const std::string& file = arguments.positional().front();
  const Config config = load_config(file, arguments.values("set"), ranks_of(arguments, launcher));
  if (arguments.has("data")) {
    const Dataset dataset = open_dataset(config.data, config.model.vocabulary);
    std::cerr << fmt::format("{}: {} tokens in {} documents\n", config.data.prefix, dataset.tokens, dataset.documents);
  }
  if (arguments.has("print")) {
    std::cout << config.resolved_text << std::flush;
    return ExitCode::kDone;
  }
  const MeshShape& mesh = config.parallel.mesh;
  std::cout << fmt::format("{} is in order: {} layers, {} rank{} (data {} x context {} x tensor {})\n", file,
                           config.model.layers.size(), mesh.size(), mesh.size() == 1 ? "" : "s", mesh.data_parallel,
                           mesh.context_parallel, mesh.tensor_parallel)
            << std::flush;
  return ExitCode::kDone;
}

}  // namespace

Verb validate_verb() {
  return {.name = "validate",
          .summary = "check a configuration without running it",
          .positional = {"CONFIG"},
          .about =
              "Checks CONFIG as `train` does, and tells all problems at once: each with its place, its value, the rule "
              "that it\n"
              "breaks and what to do. Exit code 0 if there is none, 2 otherwise.",
          .groups = {{"Options",
                      {{"ranks", "N", "ranks of the job that is to run it; without: as many as its mesh needs"},
                       {"set", "FIELD=VALUE", "set a field of CONFIG, as for train; may be repeated",
                        Option::Count::kRepeated},
                       {"data", "", "open the data too, and check them against the model"},
                       {"print", "", "print the whole configuration, all defaults written out"}}}},
          .examples = {"ropewalk validate configs/rnope_swa.textproto --ranks 8 --set parallel.context_parallel=4",
                       "ropewalk validate my.textproto --print > resolved.textproto"},
          .run = run};
}

}  // namespace ropewalk
