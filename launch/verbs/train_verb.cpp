// `ropewalk train`: trains on all ranks of the job.
#include "launch/process/process.h"
#include "launch/process/signals.h"
#include "launch/rank_session.h"
#include "launch/verbs/verbs.h"
#include "trainer/train_loop.h"

namespace ropewalk {

namespace {

ExitCode train_on(const Config& config, const Rank& rank, RunData data, const Arguments& arguments) {
  const RunEnd end = train(config, rank, std::move(data),
                           {.resume_from = arguments.whole_number("resume-from", 0),
                            .status_line = !arguments.has("plain"),
                            .stop_requested = StopSignals::requested});
  if (end == RunEnd::kDone) return ExitCode::kDone;
  if (rank.mesh.world().rank() == 0)
    say(fmt::format("stopped by a signal, with a checkpoint; the same command{} resumes from it",
                    arguments.has("resume-from") ? " without --resume-from" : ""));
  return ExitCode::kStopped;
}

ExitCode run(const Arguments& arguments, const Launcher& launcher) {
  const StopSignals signals;
  RunData data;
  return run_on_ranks(arguments, launcher,
                      {.purpose = Purpose::kTraining,
                       .step_option = "resume-from",
                       .open = [&](const Config& config, int64_t) { data = open_run_data(config); },
                       .run = [&](const Config& config,
                                  const Rank& rank) { return train_on(config, rank, std::move(data), arguments); }});
}

std::vector<Option> options() {
  std::vector<Option> out = rank_options();
  out.push_back({"resume-from", "STEP",
                 "resume from the checkpoint of this step (0: start again at step 0); later checkpoints are set aside "
                 "(renamed to "
                 "step-N.aside)"});
  out.push_back({"plain", "", "print log lines instead of a progress line, also on a terminal"});
  return out;
}

}  // namespace

Verb train_verb() {
  return {.name = "train",
          .summary = "train a model, or resume it from its newest checkpoint",
          .positional = {"CONFIG"},
          .about =
              "Trains the model that CONFIG describes (protobuf text; presets are in configs/, `ropewalk schema`\n"
              "prints all fields). Started by mpirun, the ranks form a mesh: parallel.data_parallel copies of the\n"
              "model see different sequences, parallel.context_parallel ranks share each sequence,\n"
              "parallel.tensor_parallel ranks share each weight. The product of the three is the number of ranks.\n"
              "Without mpirun, a configuration that needs several ranks is refused with the mpirun line to use.\n"
              "training.precision BF16 is mixed precision, on CPUs too, where FP32 is the default.\n"
              "(parallel.sequence_parallel is Megatron's term: it splits the activations between blocks among the\n"
              "tensor-parallel ranks. To split long sequences, use context_parallel.)\n\n"
              "The run's directory (output.directory) gets the complete configuration, metrics.jsonl (one object\n"
              "per step), TensorBoard events and checkpoints. If it holds a checkpoint, training resumes from the\n"
              "newest complete one; if not, it starts at step 0, with the weights of training.start_from if that is\n"
              "set. Files that no run has written are never replaced; one in the way is an error.\n\n"
              "On SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGUSR2 the job saves a checkpoint after the current step and\n"
              "stops with exit code 85. A second SIGTERM or SIGINT stops at once. A SIGHUP (nohup) or SIGINT (a\n"
              "script's background job) that was ignored at the start stays ignored. With mpirun use SIGUSR1, which\n"
              "it forwards at once; after a SIGTERM or SIGHUP it leaves the ranks only a second.",
          .groups = {{"Options", options()}},
          .examples =
              {"# data/text: ropewalk prepare --input book.txt --output data/text",
               "ropewalk train configs/nope.textproto      # one rank needs no mpirun",
               "mpirun -n 2 --allow-run-as-root --oversubscribe ropewalk train configs/rnope_swa.textproto \\\n"
               "      --set parallel.context_parallel=2 --set output.directory=runs/mine --set "
               "training.learning_rate=3e-4",
               "ropewalk train configs/quickstart.textproto      # needs 4 ranks: exit code 2, and the mpirun line to "
               "use here"},
          .ranks = Verb::Ranks::kAll,
          .run = run};
}

}  // namespace ropewalk
