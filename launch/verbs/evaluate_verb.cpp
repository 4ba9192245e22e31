// `ropewalk evaluate`: the loss of a checkpoint. Ranks hold no gradients, optimizer state or saved activations.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "launch/precision_option.h"
#include "launch/process/output.h"
#include "launch/process/process.h"
#include "launch/rank_session.h"
#include "launch/verbs/score_requests.h"
#include "launch/verbs/verbs.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/config/changes.h"
#include "trainer/config/load_config.h"
#include "trainer/config/stages.h"
#include "trainer/data/data_tokenizer.h"
#include "trainer/data/samples.h"
#include "trainer/evaluation/evaluate.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

struct EvaluateOptions {
  std::optional<int64_t> step;     // nullopt: the newest complete checkpoint
  std::optional<int64_t> samples;  // nullopt: validation.samples
  bool json;
};

// Loads the weights of the checkpoint into the replica, and prints which configuration fields have changed since.
LoadedCheckpoint load_weights(ModelReplica& replica, std::optional<int64_t> step) {
  const Rank& rank = replica.rank;
  const Config& config = replica.config;
  const std::filesystem::path directory = checkpoints_of(config.output.directory);
  const auto tell = [&](const std::string& line) {
    if (rank.mesh.world().rank() == 0) say(line);
  };
  const std::vector<StateTensor> weights = replica.state();
  std::optional<LoadedCheckpoint> loaded;
  if (step)
    loaded = load_checkpoint(find_checkpoint(directory, *step, rank.mesh), weights, rank.mesh, rank.kernels);
  else
    loaded = load_newest_checkpoint(directory, weights, rank.mesh, rank.kernels, tell);
  if (!loaded)
    throw CheckpointError(
        fmt::format("{} has no checkpoint; train first, or set output.directory to that of a run", directory.string()));
  for (const std::string& line : config_changes(loaded->run.config_text, config.resolved_text, loaded->progress.step))
    tell(line);
  return *loaded;
}

struct Result {
  std::filesystem::path checkpoint;
  int64_t step, sequences, sequence_length;
  LossByPosition losses;
};

std::string text_of(const Result& result) {
  const std::optional<double> mean = result.losses.mean();
  if (!mean) return "no targets: every document of these sequences has one token\n";
  std::string out = fmt::format("{} after step {}: loss {:.4f} nats a token, perplexity {:.3f}, over {} of {} tokens\n",
                                result.checkpoint.string(), result.step, *mean, std::exp(*mean),
                                counted(result.sequences, "sequence"), result.sequence_length);
  const std::vector<std::optional<double>> means = result.losses.means();
  const auto ranges = static_cast<int64_t>(means.size());
  for (int64_t range = 0; range < ranges; ++range) {
    const std::optional<double>& loss = means[static_cast<size_t>(range)];
    out += fmt::format("  positions {:>7} to {:>7}  {}\n", range * result.sequence_length / ranges,
                       (range + 1) * result.sequence_length / ranges - 1,
                       loss ? fmt::format("{:.4f}", *loss) : "no targets");
  }
  return out;
}

std::string json_of(const Result& result) {
  using Json = nlohmann::ordered_json;
  const auto number = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  const std::optional<double> mean = result.losses.mean();
  Json by_position = Json::array();
  for (const std::optional<double>& loss : result.losses.means()) by_position.push_back(number(loss));
  const Json object = {{"checkpoint", result.checkpoint.string()},
                       {"step", result.step},
                       {"sequences", result.sequences},
                       {"sequence_length", result.sequence_length},
                       {"loss", number(mean)},
                       {"perplexity", mean ? Json(std::exp(*mean)) : Json()},
                       {"loss_by_position", by_position}};
  return object.dump(2) + "\n";
}

// The stage of the step that follows `steps_done` steps, with its data.
struct StageData {
  StageData(const Config& config, int64_t steps_done)
      : stage(config.training.stages[stage_at(config.training, steps_done)]),
        data(open_dataset(config, stage)),
        tokenizer(open_data_tokenizer(config).made_by) {}
  const Stage& stage;
  Dataset data;
  std::optional<TokenizerOfData> tokenizer;
};

void check_validation(const Config& config) {
  if (config.data.validation_fraction == 0)
    throw ConfigurationError(
        "data.validation_fraction is 0, so the run kept no data for validation; setting a fraction "
        "now would evaluate on training data: set data.prefix to other data and set data.validation_fraction");
}

ExitCode evaluate_on(const Config& config, const Rank& rank, std::optional<StageData> opened,
                     const EvaluateOptions& options) {
  ModelReplica replica(config, rank);
  const LoadedCheckpoint loaded = load_weights(replica, options.step);
  const int64_t last_step = before_last_step(loaded.progress.step);
  // Checks the configuration again: an older checkpoint than the newest may have been loaded, from a stage that the
  // first check skipped as ended.
  parse_config(config.resolved_text, "the configuration", {}, rank.mesh.world().size(), last_step);
  if (&opened->stage != &config.training.stages[stage_at(config.training, last_step)])
    opened.emplace(config, last_step);
  const auto& [stage, data, tokenizer] = *opened;
  check_same_tokenizer(loaded.run.tokenizer, "the checkpoint " + loaded.path.string(), tokenizer, "the data",
                       "evaluate on data that were made by the checkpoint's tokenizer");
  replica.model.set_theta(stage.theta);
  const int64_t count = std::min(options.samples.value_or(config.validation.samples),
                                 static_cast<int64_t>(data.validation->samples_per_epoch()));
  const LossByPosition losses = evaluate(Predictor(replica), *data.validation, count,
                                         {stage.micro_batch, config.validation.position_ranges}, rank.mesh);
  if (const auto mean = losses.mean(); mean && !std::isfinite(*mean))
    throw NumericalError(
        fmt::format("the loss of {} is {}, although its weights are finite; check what was changed since",
                    loaded.path.string(), *mean));
  const Result result{loaded.path, loaded.progress.step, count, stage.sequence_length, losses};
  if (rank.mesh.world().rank() == 0) print(options.json ? json_of(result) : text_of(result));
  return ExitCode::kDone;
}

ExitCode run(const Arguments& arguments, const Launcher& launcher) {
  if (arguments.positional().empty()) return score_requests(arguments, launcher);
  std::optional<StageData> opened;
  return run_on_ranks(arguments, launcher,
                      {.purpose = Purpose::kInference,
                       .step_option = "step",
                       .open =
                           [&](const Config& config, int64_t steps_done) {
                             check_validation(config);
                             opened.emplace(config, steps_done);
                           },
                       .run =
                           [&](const Config& config, const Rank& rank) {
                             return evaluate_on(config, rank, std::move(opened),
                                                {.step = arguments.whole_number("step", 0),
                                                 .samples = arguments.whole_number("samples", 1),
                                                 .json = arguments.has("json")});
                           }});
}

std::vector<Option> loss_options() {
  return {{"step", "STEP", "the checkpoint after this step. Default: the newest complete one"},
          {"samples", "N",
           "number of sequences to evaluate, at most those of the validation part. Default: validation.samples"},
          {"json", "", "print one JSON object, with losses in nats"}};
}

std::vector<Option> options_of_both() {
  std::vector<Option> out = rank_options();
  out.front().description += "; without CONFIG, a field of model or parallel, or training.loss_chunk";
  out.insert(out.begin() + 1, precision_option("training.precision of CONFIG; without it, fp32 on CPUs, bf16 on GPUs"));
  return out;
}

// The verb has two forms, and an option of one is wrong in the other.
std::string problem(const Arguments& arguments) {
  const bool loss = !arguments.positional().empty();
  for (const Option& option : loss ? scoring_options() : loss_options())
    if (arguments.has(option.name))
      return loss ? fmt::format("--{} is for scoring requests, without CONFIG", option.name)
                  : fmt::format("--{} is for the loss on the validation data, which needs CONFIG", option.name);
  if (loss) return "";
  const std::vector<std::string> needed = {"checkpoint", "requests", "output"};
  const auto given = [&](const std::string& name) { return arguments.has(name); };
  if (std::ranges::none_of(needed, given)) return "evaluate needs CONFIG, or --checkpoint, --requests and --output";
  const auto missing = std::ranges::find_if_not(needed, given);
  return missing == needed.end() ? "" : fmt::format("scoring requests needs --{}", *missing);
}

}  // namespace

Verb evaluate_verb() {
  return {
      .name = "evaluate",
      .summary = "loss and perplexity of a checkpoint on the validation data; log-probabilities of given texts",
      .positional = {"CONFIG"},
      .other_usage = "--checkpoint DIR --requests FILE.jsonl --output FILE.jsonl",
      .problem = problem,
      .about =
          "With CONFIG: loads the weights of a checkpoint of CONFIG's run (output.directory) and prints the loss\n"
          "over the first sequences of the validation part, computed as in training: the mean over all tokens, and\n"
          "by position in the sequence. The checkpoint may come from any mesh; the mesh of this job must be able\n"
          "to split training.batch, as for training. A rank holds its part of the weights and the working\n"
          "memory of a forward pass; `ropewalk plan CONFIG --inference` prints how much. Fields that differ\n"
          "from the run's configuration are printed, and the new values are used.\n\n"
          "Without CONFIG: scores requests with the model of any checkpoint, on any mesh, on CPUs in fp32\n"
          "unless --set parallel.device or --precision says otherwise. How likely is a continuation after a context? A "
          "line of\n"
          "requests and its answer, in nats:\n"
          "  {\"context\": \"The sky is\", \"continuation\": \" blue\"}\n"
          "  {\"logprob\": -3.5, \"token_logprobs\": [-1.5, -0.25, -0.75, -0.5, -0.5], \"is_greedy\": false}\n"
          "is_greedy: at each token of the continuation, no other token has a larger logit. Context and\n"
          "continuation are encoded together; what follows the tokens of the context alone is the continuation.\n"
          "An empty context stands for the token between documents. Requests in ids need no tokenizer.\n"
          "An answer depends on the requests that are computed with it by rounding errors alone. The output\n"
          "appears when it is complete; a signal stops the job, and nothing is written.",
      .groups = {{"Both forms", options_of_both()},
                 {"Loss on the validation data", loss_options()},
                 {"Scoring requests", scoring_options()}},
      .examples =
          {"# of the run that `ropewalk train --help` shows",
           "ropewalk evaluate configs/rnope_swa.textproto --set output.directory=runs/mine --samples 4",
           "ropewalk evaluate configs/rnope_swa.textproto --set output.directory=runs/mine --samples 4 --precision "
           "bf16",
           "mpirun -n 2 --allow-run-as-root --oversubscribe ropewalk evaluate configs/rnope_swa.textproto \\\n"
           "      --set parallel.context_parallel=2 --set output.directory=runs/mine --samples 4 --json",
           "echo '{\"context\": \"In the beginning\", \"continuation\": \" was the word\"}' > asked.jsonl",
           "mpirun -n 2 --allow-run-as-root --oversubscribe ropewalk evaluate --mesh cp=2 --tokenizer bytes \\\n"
           "      --checkpoint $(ls -d runs/mine/checkpoints/step-* | tail -n 1) --requests asked.jsonl --output "
           "scores.jsonl"},
      .ranks = Verb::Ranks::kAll,
      .run = run};
}

}  // namespace ropewalk
