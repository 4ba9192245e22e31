#include "launch/verbs/score_requests.h"

#include <algorithm>
#include <iostream>
#include <sstream>

#include "kernels/clock.h"
#include "launch/plan_options.h"
#include "launch/precision_option.h"
#include "launch/process/process.h"
#include "launch/process/signals.h"
#include "launch/rank_session.h"
#include "launch/verbs/answer_file.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/config/field_rules.h"
#include "trainer/config/load_config.h"
#include "trainer/config/model_text.h"
#include "trainer/data/data_tokenizer.h"
#include "trainer/evaluation/scoring.h"
#include "trainer/metrics/progress.h"
#include "trainer/text/format.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

// The requests are scored in windows, so that no rank holds more of them: this many sequences for each data rank.
constexpr int64_t kSequencesInWindow = 16;
// How long rank 0 reads before it answers the other ranks, which do not wait for it forever.
constexpr double kSecondsOfReading = 0.25;

struct Given {
  explicit Given(const Arguments& arguments)
      : checkpoint(arguments.value("checkpoint")),
        requests(arguments.value("requests")),
        output(arguments.value("output")),
        overwrite(arguments.has("overwrite")),
        tokenizer(arguments.has("tokenizer") ? make_tokenizer(arguments.value("tokenizer")) : nullptr) {
    batch_tokens = arguments.whole_number("batch-tokens", 1, kMostPositions).value_or(batch_tokens);
    refuse_axes_in_set(arguments, "mesh");
    if (arguments.has("mesh")) settings = mesh_settings(arguments.value("mesh"));
    for (const std::string& setting : settings_with_precision(arguments)) settings.push_back(setting);
  }

  std::string checkpoint, requests, output;
  bool overwrite;
  std::unique_ptr<Tokenizer> tokenizer;  // null: none is given
  int64_t batch_tokens = ScoringOptions().batch_tokens;
  std::vector<std::string> settings;
};

// tokenizer: of the requests; null if none is given. Throws if the checkpoint's run had another one.
std::string model_of_checkpoint(const std::string& checkpoint, const Tokenizer* tokenizer) {
  const Manifest manifest = read_manifest(real_file_system(), checkpoint);
  if (tokenizer)
    check_same_tokenizer(manifest.run.tokenizer, "the checkpoint " + checkpoint,
                         TokenizerOfData{tokenizer->identity(), {}}, "--tokenizer",
                         "name the tokenizer that made the data of the checkpoint's run");
  return model_group_of(manifest.run.config_text, manifest.progress.step, "the configuration in " + checkpoint);
}

// Reads the whole file on rank 0, so that wrong requests are reported before anything is computed. Collective.
RequestTotals count_requests(const Given& given, int64_t vocabulary, Communicator& ranks) {
  std::optional<ScoringRequests> file;
  RequestTotals totals;
  const auto read_on = [&]() -> std::string {
    if (!file) file.emplace(given.requests, given.tokenizer.get(), vocabulary);
    const double began = steady_seconds();
    while (const std::optional<ScoringRequest> request = file->next()) {
      totals.add(*request);
      if (steady_seconds() - began > kSecondsOfReading) return "";
    }
    if (totals.requests == 0) throw DataError(printable_name(given.requests) + " has no requests");
    return fmt::format("{} {} {}", totals.requests, totals.tokens, totals.longest);
  };
  std::string told;
  while (told.empty()) told = text_of_rank_0(ranks, read_on);
  std::istringstream(told) >> totals.requests >> totals.tokens >> totals.longest;
  return totals;
}

class ScoringJob {
 public:
  explicit ScoringJob(const Arguments& arguments) : given_(arguments) {}

  // The configuration of the checkpoint's model, for the longest sequence. Collective.
  Config configure(const JobStart& start) {
    const std::string model = text_of_rank_0(start.ranks, [&] {
      check_free(given_.output, given_.overwrite, given_.requests);
      return model_of_checkpoint(given_.checkpoint, given_.tokenizer.get());
    });
    Config config = start.configure([&](std::optional<int> ranks) {
      return parse_inference_config(model, "the model of " + given_.checkpoint, given_.settings, ranks);
    });
    const int64_t vocabulary = config.model.vocabulary;
    if (given_.tokenizer && given_.tokenizer->vocabulary_size() > vocabulary)
      throw ConfigurationError(fmt::format("--tokenizer has {} tokens, and the model of {} only {}",
                                           given_.tokenizer->vocabulary_size(), given_.checkpoint, vocabulary));
    totals_ = count_requests(given_, vocabulary, start.ranks);
    config.training.stages.front().sequence_length =
        longest_sequence(totals_, given_.batch_tokens, config.parallel.mesh.context_parallel);
    return config;
  }

  ExitCode run(const Config& config, const Rank& rank) {
    Communicator& world = rank.mesh.world();
    ModelReplica replica(config, rank);
    load_checkpoint(given_.checkpoint, replica.state(), rank.mesh, rank.kernels);
    const StopSignals signals;
    std::optional<ScoringRequests> file;  // on rank 0, like the output
    std::optional<AnswerFile> output;
    text_of_rank_0(world, [&] {
      file.emplace(given_.requests, given_.tokenizer.get(), config.model.vocabulary);
      output.emplace(given_.output, given_.overwrite);
      return "";
    });
    if (world.rank() == 0)
      say(fmt::format("{} of together {} tokens", counted(totals_.requests, "request"),
                      count_text(static_cast<double>(totals_.tokens))));
    const auto read = [&](int64_t tokens) {
      return requests_in(text_of_rank_0(world, [&] { return read_requests(*file, tokens); }));
    };
    const auto write = [&](const std::vector<ScoringAnswer>& answers) {
      text_of_rank_0(world, [&] { return output->write(answers), ""; });
    };
    const auto finish = [&] { return !text_of_rank_0(world, [&] { return output->finish() ? "done" : ""; }).empty(); };
    if (score_all(Predictor(replica), rank.mesh, read, write) && finish()) return ExitCode::kDone;
    const auto signal = static_cast<int>(maximum_of(world, StopSignals::signal()));
    if (world.rank() == 0) say("stopped by a signal; nothing was written");
    return static_cast<ExitCode>(128 + signal);  // a shell's code for a process killed by a signal
  }

 private:
  using Read = std::function<std::vector<ScoringRequest>(int64_t tokens)>;
  using Write = std::function<void(const std::vector<ScoringAnswer>&)>;

  // Returns false if a signal asked to stop. Collective.
  bool score_all(const Predictor& predictor, const Mesh& mesh, const Read& read, const Write& write) const {
    StatusLine line(std::cerr, mesh.world().rank() == 0 ? Terminal::of_stderr() : Terminal());
    WorkProgress progress(line, "scoring", static_cast<double>(totals_.tokens),
                          [](double tokens) { return count_text(tokens) + " tokens"; });
    const int64_t data_ranks = mesh.shape().data_parallel;
    RequestTotals seen;
    int64_t done = 0;
    ScoringOptions options{.batch_tokens = given_.batch_tokens, .stop_requested = StopSignals::requested};
    options.progress = [&](int64_t tokens) {  // the other data ranks have done about as much
      done = std::min(done + tokens * data_ranks, seen.tokens);
      if (mesh.world().rank() == 0) progress.at(static_cast<double>(done));
    };
    while (true) {
      const std::vector<ScoringRequest> requests = read(kSequencesInWindow * data_ranks * given_.batch_tokens);
      if (requests.empty()) break;
      for (const ScoringRequest& request : requests) seen.add(request);
      check_unchanged(seen.longest <= totals_.longest);
      const auto answers = score(predictor, mesh, requests, options);
      if (!answers) return false;
      write(*answers);
      done = seen.tokens;
    }
    check_unchanged(seen == totals_);
    if (mesh.world().rank() == 0) progress.done();
    return true;
  }

  void check_unchanged(bool same) const {
    if (same) return;
    throw DataError(fmt::format("{} changed while it was in use; start again when nothing writes to it",
                                printable_name(given_.requests)));
  }

  Given given_;
  RequestTotals totals_;
};

}  // namespace

std::vector<Option> scoring_options() {
  return {
      {"checkpoint", "DIR", "the checkpoint: the directory step-N of any run, or an imported model"},
      {"requests", "FILE.jsonl",
       "requests, one JSON object a line: {\"context\": TEXT, \"continuation\": TEXT}, or {\"context_ids\": [ID, "
       "...], \"continuation_ids\": [ID, ...]}; other members are ignored"},
      {"output", "FILE.jsonl", "answers, a line for each request, in the order of the requests"},
      {"overwrite", "", "replace the output file if it exists"},
      {"tokenizer", "NAME", "for requests in text; " + tokenizer_choices()},
      {"mesh", "dp=N,cp=N,tp=N",
       "split the ranks like this: data-parallel ranks share the requests, context-parallel ranks each long request, "
       "tensor-parallel ranks the weights; an axis that is left out is 1. Default: dp, the number of ranks"},
      {"batch-tokens", "N",
       "short requests are computed together, up to this many tokens at a time for each data-parallel rank. Default: "
       "8192"}};
}

ExitCode score_requests(const Arguments& arguments, const Launcher& launcher) {
  std::optional<ScoringJob> scoring;
  return run_on_ranks(arguments, launcher,
                      {.purpose = Purpose::kInference,
                       .configure =
                           [&](const JobStart& start) {
                             scoring.emplace(arguments);  // here, where an error reaches all ranks
                             return scoring->configure(start);
                           },
                       .to_need_less = "a smaller --batch-tokens; more ranks (--mesh tp=N splits the weights, cp=N the "
                                       "sequences); a smaller training.loss_chunk",
                       .run = [&](const Config& config, const Rank& rank) { return scoring->run(config, rank); }});
}

}  // namespace ropewalk
