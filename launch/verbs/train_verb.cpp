// `ropewalk train`: trains on all ranks of the job.
#include "launch/process/process.h"
#include "launch/process/signals.h"
#include "launch/rank_session.h"
#include "launch/verbs/verbs.h"
#include "trainer/train_loop.h"

namespace ropewalk {

namespace {

ExitCode train_on(const Config& config, const Rank& rank, const Arguments& arguments) {
  const RunEnd end = train(config, rank,
                           {.resume_from = arguments.whole_number("resume-from", 0),
                            .status_line = !arguments.has("plain"),
                            .stop_requested = StopSignals::requested});
  if (end == RunEnd::kDone) return ExitCode::kDone;
  if (rank.mesh.world().rank() == 0)
    say(fmt::format("stopped by a signal, with a checkpoint; the same command{} goes on from it",
                    arguments.has("resume-from") ? " without --resume-from" : ""));
  return ExitCode::kStopped;
}

ExitCode run(const Arguments& arguments, const Launcher& launcher) {
  const StopSignals signals;
  return run_on_ranks(
      arguments, launcher,
      {.purpose = Purpose::kTraining, .step_option = "resume-from", .run = [&](const Config& config, const Rank& rank) {
         return train_on(config, rank, arguments);
       }});
}

std::vector<Option> options() {
  std::vector<Option> out = rank_options();
  out.push_back({"resume-from", "STEP",
                 "go back to the checkpoint of this step, 0: to the start; the later ones are set aside (renamed to "
                 "step-N.aside)"});
  out.push_back({"plain", "", "no progress line that is drawn in place, also on a terminal"});
  return out;
}

}  // namespace

Verb train_verb() {
  return {
      .name = "train",
      .summary = "train a model, or go on from its newest checkpoint",
      .positional = {"CONFIG"},
      .about =
          "Trains the model that CONFIG describes (protobuf text; presets are in configs/, all fields in `ropewalk "
          "schema`).\n"
          "Started by mpirun, the ranks form a mesh: parallel.data_parallel copies of the model see different "
          "sequences,\n"
          "parallel.context_parallel ranks share each sequence, parallel.tensor_parallel ranks share each weight; "
          "their\n"
          "product is the number of ranks. Without mpirun, a configuration that needs several ranks is answered with "
          "the\n"
          "mpirun line for this user and machine. (sequence_parallel is Megatron's word for splitting the activations "
          "between\n"
          "blocks among the tensor ranks; to share a sequence is context_parallel.)\n\n"
          "The run's directory (output.directory) gets the whole configuration, metrics.jsonl (an object a step),\n"
          "TensorBoard events and checkpoints. If it holds a checkpoint, training goes on from the newest whole one.\n"
          "Files there that no run has written are never replaced: one in the way is an error.\n"
          "SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 save a checkpoint after the step that is running, and stop "
          "with\n"
          "exit code 85; a second SIGTERM or SIGINT stops at once; where SIGHUP (nohup) or SIGINT (a script's "
          "background) "
          "is\n"
          "ignored, it stays so. mpirun passes SIGUSR1 on at once, but after a SIGTERM or SIGHUP it leaves only a "
          "second:\n"
          "use SIGUSR1.",
      .groups = {{"Options", options()}},
      .examples =
          {"# data/text: ropewalk prepare --input book.txt --output data/text",
           "ropewalk train configs/nope.textproto      # one rank needs no mpirun",
           "mpirun -n 2 --allow-run-as-root --oversubscribe ropewalk train configs/rnope_swa.textproto \\\n"
           "      --set parallel.context_parallel=2 --set output.directory=runs/mine --set training.learning_rate=3e-4",
           "ropewalk train configs/quickstart.textproto      # needs 4 ranks: exit code 2, and the mpirun line to use "
           "here"},
      .ranks = Verb::Ranks::kAll,
      .run = run};
}

}  // namespace ropewalk
