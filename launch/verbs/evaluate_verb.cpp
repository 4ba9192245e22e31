// `ropewalk evaluate`: the loss of a checkpoint, by ranks that hold its weights and nothing else.
#include <cmath>
#include <nlohmann/json.hpp>

#include "launch/process/output.h"
#include "launch/rank_session.h"
#include "launch/verbs/verbs.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/config/stages.h"
#include "trainer/data/samples.h"
#include "trainer/evaluation/evaluate.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

std::filesystem::path checkpoints_of(const Config& config) {
  return std::filesystem::path(config.output.directory) / "checkpoints";
}

// Brings the weights of the checkpoint after --step, or of the newest whole one, into the replica.
LoadedCheckpoint load_weights(ModelReplica& replica, const Config& config, std::optional<int64_t> step) {
  const Rank& rank = replica.rank;
  const std::filesystem::path directory = checkpoints_of(config);
  const std::vector<StateTensor> weights = replica.state();
  if (step) return load_checkpoint(find_checkpoint(directory, *step, rank.mesh), weights, rank.mesh, rank.kernels);
  const auto warn = [&](const std::string& line) {
    if (rank.mesh.world().rank() == 0) say(line);
  };
  if (auto loaded = load_newest_checkpoint(directory, weights, rank.mesh, rank.kernels, warn)) return *loaded;
  throw CheckpointError(
      fmt::format("{} has no checkpoint; train first, or set output.directory to that of a run", directory.string()));
}

struct Result {
  std::filesystem::path checkpoint;
  int64_t step, sequences, sequence_length;
  LossByPosition losses;
};

double perplexity(std::optional<double> loss) { return std::exp(loss.value_or(std::nan(""))); }

std::string text_of(const Result& result) {
  const std::vector<std::optional<double>> means = result.losses.means();
  const std::optional<double> mean = result.losses.mean();
  if (!mean) return "no targets: every document of these sequences has one token\n";
  std::string out = fmt::format("{} after step {}: loss {:.4f} nats a token, perplexity {:.3f}, over {} of {} tokens\n",
                                result.checkpoint.string(), result.step, *mean, perplexity(mean),
                                counted(result.sequences, "sequence"), result.sequence_length);
  const auto ranges = static_cast<int64_t>(means.size());
  for (int64_t range = 0; range < ranges; ++range)
    out += fmt::format(
        "  positions {:>7} to {:>7}  {}\n", range * result.sequence_length / ranges,
        (range + 1) * result.sequence_length / ranges - 1,
        means[static_cast<size_t>(range)] ? fmt::format("{:.4f}", *means[static_cast<size_t>(range)]) : "no targets");
  return out;
}

std::string json_of(const Result& result) {
  nlohmann::ordered_json by_position = nlohmann::ordered_json::array();
  for (const std::optional<double>& mean : result.losses.means())
    by_position.push_back(mean ? nlohmann::ordered_json(*mean) : nlohmann::ordered_json());
  const std::optional<double> mean = result.losses.mean();
  nlohmann::ordered_json object = {{"checkpoint", result.checkpoint.string()},
                                   {"step", result.step},
                                   {"sequences", result.sequences},
                                   {"sequence_length", result.sequence_length},
                                   {"loss", mean ? nlohmann::ordered_json(*mean) : nlohmann::ordered_json()},
                                   {"loss_by_position", by_position}};
  return object.dump(2) + "\n";
}

ExitCode evaluate_on(RankSession& session, const Arguments& arguments) {
  const Config& config = session.config;
  const std::optional<int64_t> step = arguments.whole_number("step", 1);
  const int64_t most = arguments.whole_number("samples", 1).value_or(config.validation.samples);
  const std::vector<Dataset> datasets = open_datasets(config);
  ModelReplica replica(config, session.rank);
  const LoadedCheckpoint loaded = load_weights(replica, config, step);
  const size_t index = stage_at(config.training, std::max<int64_t>(loaded.progress.step, 1) - 1);
  const Stage& stage = config.training.stages[index];
  replica.model.set_theta(stage.theta);
  if (!datasets[index].validation)
    throw ConfigurationError("data.validation_fraction leaves no sequence to evaluate; raise it, or name longer data");
  const Samples& samples = *datasets[index].validation;
  const int64_t count = std::min(most, static_cast<int64_t>(samples.samples_per_epoch()));
  const LossByPosition losses = evaluate(Predictor(replica), samples, count,
                                         {stage.micro_batch, config.validation.position_ranges}, session.rank.mesh);
  if (session.process.rank() != 0) return ExitCode::kDone;
  const Result result{loaded.path, loaded.progress.step, count, stage.sequence_length, losses};
  print(arguments.has("json") ? json_of(result) : text_of(result));
  return ExitCode::kDone;
}

ExitCode run(const Arguments& arguments, const Launcher& launcher) {
  return run_on_ranks(arguments, launcher,
                      {.purpose = Purpose::kInference,
                       .first_step =
                           [&](const std::filesystem::path& checkpoints) {
                             return arguments.whole_number("step", 1).value_or(newest_step(checkpoints));
                           },
                       .run = [&](RankSession& session) { return evaluate_on(session, arguments); }});
}

std::vector<Option> options() {
  std::vector<Option> out = rank_options();
  out.push_back({"step", "STEP", "the checkpoint after this step; without: the newest whole one"});
  out.push_back({"samples", "N", "sequences to evaluate, at most. Default: validation.samples"});
  out.push_back({"json", "", "print one JSON object; losses in nats"});
  return out;
}

}  // namespace

Verb evaluate_verb() {
  return {
      .name = "evaluate",
      .summary = "loss and perplexity of a checkpoint on the validation data",
      .positional = {"CONFIG"},
      .about =
          "Loads the weights of a checkpoint of CONFIG's run (output.directory) and tells the loss of the first "
          "sequences of\n"
          "the validation part, as training does, over all and by position. A rank holds its part of the weights "
          "and what a\n"
          "forward pass needs, a quarter or less of what training takes; `ropewalk plan CONFIG --inference` tells "
          "how much.\n"
          "Any mesh reads a checkpoint of any other.",
      .groups = {{"Options", options()}},
      .examples = {"ropewalk evaluate my.textproto",
                   "mpirun -n 4 ropewalk evaluate my.textproto --set parallel.context_parallel=4 --samples 200 --json"},
      .ranks = Verb::Ranks::kAll,
      .run = run};
}

}  // namespace ropewalk
