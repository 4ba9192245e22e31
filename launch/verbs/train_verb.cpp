// `ropewalk train`: joins the ranks, reads the configuration, lays out the mesh, and trains.
#include <chrono>
#include <cmath>
#include <filesystem>

#include "kernels/arena.h"
#include "kernels/make_kernels.h"
#include "kernels/trace.h"
#include "launch/process/devices.h"
#include "launch/process/hosts.h"
#include "launch/process/process.h"
#include "launch/process/signals.h"
#include "launch/program.h"
#include "launch/verbs/estimate_report.h"
#include "launch/verbs/verbs.h"
#include "parallel/communicator/make_communicator.h"
#include "parallel/mesh.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/config/load_config.h"
#include "trainer/run/estimate.h"
#include "trainer/text/format.h"
#include "trainer/train_loop.h"

namespace ropewalk {

namespace {

constexpr int64_t kLongestStart = 86400;

// All ranks, before there is a mesh.
LoggedCommunicator start_group(Process& process, std::shared_ptr<Communicator> world) {
  return LoggedCommunicator(std::move(world), "start", false, process.failure_handler());
}

std::chrono::seconds start_deadline(const Arguments& arguments) {
  return std::chrono::seconds(
      arguments.whole_number("start-deadline", 1, kLongestStart).value_or(kStartDeadline.count()));
}

Config configuration(const Arguments& arguments, Process& process) {
  LoggedCommunicator start = start_group(process, process.world(start_deadline(arguments)));
  const std::string& file = arguments.positional().front();
  const std::vector<std::string> settings = arguments.values("set");
  // One rank reads, so that all see the same text, and hosts without the file can take part; and looks for the step
  // that the run goes on from, because stages that are over need not fit the mesh.
  const std::string text = text_of_rank_0(start, [&] { return read_config_file(file); });
  const std::string step = text_of_rank_0(start, [&] {
    const std::filesystem::path directory = output_directory_in(text, file, settings);
    return std::to_string(arguments.whole_number("resume-from", 0).value_or(newest_step(directory / "checkpoints")));
  });
  // A rank that stands still is named here, as it is not where MPI makes the world of the configuration's deadline.
  start.barrier();
  return parse_config(text, file, settings, process.size(), std::stoll(step));
}

// Tells where the ranks are and what they compute on. On every rank, because wrong devices end all of them.
void announce(const Process& process, const Config& config, const StepEstimate& plan, const Kernels& kernels,
              Communicator& start) {
  const std::optional<DeviceStatus> device = kernels.device_status();
  const int64_t on_host = device ? kProgramBytes + plan.batch_bytes : process_bytes(plan);
  const std::vector<Place> places = gather_places(start, {process.host(), allowed_cpus(), on_host, available_memory()});
  const std::vector<DevicePlace> devices =
      device ? gather_devices(start, {process.host(), *device, plan.memory.total()}) : std::vector<DevicePlace>();
  std::vector<std::string> warnings;
  const std::string device_text = text_of_rank_0(start, [&]() -> std::string {
    if (devices.empty()) return kernels.name();
    const DeviceSummary summary = summarize_devices(devices, config.parallel.device_transport);
    warnings = summary.warnings;
    return fmt::format("{}, {}{}", kernels.name(), summary.text, kernels.deterministic() ? "" : ", not deterministic");
  });
  if (process.rank() != 0) return;
  const HostSummary hosts = summarize_hosts(places);
  say(fmt::format("{} on {}; mesh: {}; device: {}; {}", counted(process.size(), "rank"), hosts.text,
                  mesh_text(config.parallel.mesh), device_text, process.transport()));
  say("memory of rank 0: " + memory_line(plan));
  warnings.insert(warnings.begin(), hosts.warnings.begin(), hosts.warnings.end());
  for (const std::string& warning : warnings) say(warning);
}

RunEnd train_on_device(const Arguments& arguments, const Config& config, const StepEstimate& plan, Kernels& kernels,
                       std::shared_ptr<Communicator> world, const FailureHandler& on_failure) {
  Mesh mesh(config.parallel.mesh, std::move(world), static_cast<int>(config.model.key_heads), false, on_failure);
  Trace trace;
  trace.set_marker(kernels.range_marker());
  trace.set_timeline(kernels.device_timeline());
  const bool traces = config.output.trace_steps > 0 || kernels.range_marker();
  if (traces) {
    mesh.set_trace(&trace);
    kernels.set_trace(&trace);
  }
  Arena arena(kernels);
  arena.reserve(plan.memory.arena());
  return train(config, {mesh, kernels, arena, traces ? &trace : nullptr},
               {.resume_from = arguments.whole_number("resume-from", 0),
                .status_line = !arguments.has("plain"),
                .stop_requested = StopSignals::requested});
}

ExitCode train_on(Process& process, const Arguments& arguments) {
  const Config config = configuration(arguments, process);
  const std::chrono::milliseconds deadline =
      std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(config.parallel.deadline_seconds));
  const std::shared_ptr<Communicator> host_world = process.world(deadline);
  LoggedCommunicator start = start_group(process, host_world);
  const StepEstimate plan = estimate_run(config, process.rank());
  RunEnd end{};
  try {
    const std::unique_ptr<Kernels> kernels = make_kernels(
        config.parallel.backend, {.local_rank = process.node_rank(), .deterministic = config.parallel.deterministic});
    announce(process, config, plan, *kernels, start);
    const auto world =
        make_device_world(host_world, *kernels, config.parallel.device_transport, process.options(deadline));
    end = train_on_device(arguments, config, plan, *kernels, world, process.failure_handler());
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(fmt::format("{}\n  planned for rank {}: {}", error.what(), process.rank(), memory_line(plan)));
  }
  if (end == RunEnd::kDone) return ExitCode::kDone;
  if (process.rank() == 0)
    say(fmt::format("stopped by a signal, with a checkpoint; the same command{} goes on from it",
                    arguments.has("resume-from") ? " without --resume-from" : ""));
  return ExitCode::kStopped;
}

ExitCode run(const Arguments& arguments, const Launcher& launcher) {
  const StopSignals signals;
  if (const std::string note = note_on(launcher); !note.empty()) say(note);
  std::chrono::seconds deadline = kStartDeadline;
  try {
    deadline = start_deadline(arguments);
  } catch (const ConfigurationError&) {  // which all ranks come to again, together
  }
  return run_process(
      launcher, [&](Process& process) { return train_on(process, arguments); }, deadline);
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
          "product is the number of ranks. (sequence_parallel is Megatron's word for splitting the activations "
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
      .groups = {{"Options",
                  {{"set", "FIELD=VALUE", "set a field of CONFIG; may be repeated, and a later one wins",
                    Option::Count::kRepeated},
                   {"resume-from", "STEP",
                    "go back to the checkpoint of this step, 0: to the start; the later ones are set aside (renamed to "
                    "step-N.aside)"},
                   {"start-deadline", "SECONDS",
                    "how long ranks wait for each other until the configuration is read; from then on "
                    "parallel.deadline_seconds holds. Default: 120"},
                   {"plain", "", "no progress line that is drawn in place, also on a terminal"}}}},
      .examples =
          {"mpirun -n 4 ropewalk train configs/rnope_swa.textproto --set parallel.tensor_parallel=2",
           "mpirun -n 8 ropewalk train configs/rnope_swa.textproto --set parallel.context_parallel=4 \\\n"
           "      --set data.prefix=data/mine --set output.directory=runs/mine --set model.pattern.0.window=256",
           "ropewalk train configs/nope.textproto --set training.steps=10      # one rank needs no mpirun"},
      .ranks = Verb::Ranks::kAll,
      .run = run};
}

}  // namespace ropewalk
