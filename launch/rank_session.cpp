#include "launch/rank_session.h"

#include <chrono>

#include "kernels/allowed_cpus.h"
#include "kernels/make_kernels.h"
#include "kernels/trace.h"
#include "launch/memory_report.h"
#include "launch/precision_option.h"
#include "launch/process/control_groups.h"
#include "launch/process/devices.h"
#include "launch/process/hosts.h"
#include "launch/process/process.h"
#include "launch/process/start.h"
#include "parallel/communicator/make_communicator.h"
#include "parallel/mesh.h"
#include "trainer/config/load_config.h"
#include "trainer/config/stages.h"
#include "trainer/run/device_memory.h"
#include "trainer/run/starting_point.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

constexpr int64_t kLongestStart = 86400;

// A communicator of all ranks, for use before the mesh exists.
LoggedCommunicator start_group(Process& process, std::shared_ptr<Communicator> world) {
  return LoggedCommunicator(std::move(world), "start", false, process.failure_handler());
}

std::chrono::seconds start_deadline(const Arguments& arguments) {
  return std::chrono::seconds(
      arguments.whole_number("start-deadline", 1, kLongestStart).value_or(kStartDeadline.count()));
}

struct Beginning {
  Config config;
  int64_t steps_done;  // by the run so far: stages that ended before need not fit the mesh
};

// The number of ranks nearest below `ranks` that the configuration accepts, or else the least; 0 if more is wrong with
// the configuration.
int ranks_needed(const ConfigFor& config_for, int ranks) {
  const auto accepted = [&](std::optional<int> count) {
    try {
      return config_for(count).parallel.mesh.size();
    } catch (const ConfigurationError&) {
      return 0;
    }
  };
  const int least = accepted(std::nullopt);  // with data_parallel 1 unless the configuration sets it
  if (least == 0) return 0;
  const int most = accepted(std::max(1, ranks / least) * least);
  return most > 0 ? most : least;
}

// How to start as many ranks as the configuration needs, if that is all that is wrong; else empty.
std::string right_count(const Launcher& launcher, int needed, int ranks) {
  if (needed == 0 || needed == ranks) return "";
  const std::string way = way_to_start(launcher, needed, this_start());
  return fmt::format("\n  to start {}:{}{}", counted(needed, "rank"), way.starts_with('\n') ? "" : " ", way);
}

Config config_or_advice(const ConfigFor& config_for, const Launcher& launcher, int ranks) {
  try {
    return config_for(ranks);
  } catch (const ConfigurationError& error) {
    throw ConfigurationError(error.what() + right_count(launcher, ranks_needed(config_for, ranks), ranks));
  }
}

// The configuration in `text`, completed from the checkpoint that the run starts from.
Beginning resolve(const Arguments& arguments, const Launcher& launcher, const std::string& text, int ranks,
                  const RankJob& job) {
  const std::string& file = arguments.positional().front();
  const std::vector<std::string> settings = settings_with_precision(arguments);
  const StartingPoint start = find_starting_point(text, file, settings, arguments.whole_number(job.step_option, 0));
  const int64_t steps_done = job.purpose == Purpose::kTraining ? start.step : before_last_step(start.step);
  const auto config_for = [&](std::optional<int> count) {
    return parse_config(text, file, settings, count, steps_done, start.model);
  };
  return {config_or_advice(config_for, launcher, ranks), steps_done};
}

Beginning read_configuration(const Arguments& arguments, const Launcher& launcher, Process& process,
                             const RankJob& job) {
  LoggedCommunicator start = start_group(process, process.world(start_deadline(arguments)));
  if (job.configure) {
    const auto configure = [&](const ConfigFor& config_for) {
      return config_or_advice(config_for, launcher, process.size());
    };
    const Config config = job.configure({start, configure});
    start.barrier();
    return {config, 0};
  }
  const std::string& file = arguments.positional().front();
  // Only rank 0 reads the file and the checkpoint, so that all ranks see the same and the other hosts need neither.
  const std::string text = text_of_rank_0(start, [&] { return read_config_file(file); });
  // The steps done, on the first line; then the resolved configuration.
  const std::string told = text_of_rank_0(start, [&] {
    const Beginning beginning = resolve(arguments, launcher, text, process.size(), job);
    return fmt::format("{}\n{}", beginning.steps_done, beginning.config.resolved_text);
  });
  const int64_t steps_done = std::stoll(told);
  const std::string_view resolved = std::string_view(told).substr(told.find('\n') + 1);
  // A hanging rank is named here. It could not be named in MPI's own collective that creates the next world.
  start.barrier();
  return {parse_config(resolved, file, {}, process.size(), steps_done), steps_done};
}

// Prints where the ranks run and on which devices. Collective: unusable devices must end all ranks.
void announce(const Process& process, const Launcher& launcher, const Config& config, const StepEstimate& estimate,
              const Kernels& kernels, Communicator& start) {
  const std::optional<DeviceStatus> device = kernels.device_status();
  const int64_t on_host = device ? estimate.program_bytes + estimate.batch_bytes : process_bytes(estimate);
  const std::vector<Place> places =
      gather_places(start, {process.host(), allowed_cpus(), on_host, available_memory(), ranks_yield(),
                            cpu_quota().value_or(0), kernels.arithmetic()});
  const std::vector<DevicePlace> devices =
      device ? gather_devices(start, {process.host(), *device, bytes_beside_context(estimate, config)})
             : std::vector<DevicePlace>();
  std::vector<std::string> warnings;
  const std::string devices_text = text_of_rank_0(start, [&]() -> std::string {
    if (devices.empty()) return "";
    const DeviceSummary summary = summarize_devices(devices, config.parallel.device_transport);
    warnings = summary.warnings;
    return fmt::format(", {}{}", summary.text, kernels.deterministic() ? "" : ", not deterministic");
  });
  if (process.rank() != 0) return;
  const HostSummary hosts = summarize_hosts(places, this_start(), launcher);
  say(fmt::format("{} on {}; mesh: {}; device: {}, {}{}; {}", counted(process.size(), "rank"), hosts.text,
                  mesh_text(config.parallel.mesh), kernels.name(), hosts.arithmetic, devices_text,
                  process.transport()));
  say("memory of rank 0: " + memory_line(estimate, config));
  warnings.insert(warnings.begin(), hosts.warnings.begin(), hosts.warnings.end());
  for (const std::string& warning : warnings) say(warning);
}

ExitCode run_on_device(Process& process, const Config& config, const StepEstimate& estimate, Kernels& kernels,
                       std::shared_ptr<Communicator> world, const RankJob& job) {
  Mesh mesh(config.parallel.mesh, std::move(world), static_cast<int>(config.model.key_heads), false,
            process.failure_handler());
  Trace trace;
  trace.set_marker(kernels.range_marker());
  trace.set_timeline(kernels.device_timeline());
  const bool traces = config.output.trace_steps > 0 || kernels.range_marker();
  if (traces) {
    mesh.set_trace(&trace);
    kernels.set_trace(&trace);
  }
  Arena arena(kernels);
  arena.reserve(estimate.memory.arena());
  return job.run(config, {mesh, kernels, arena, traces ? &trace : nullptr});
}

ExitCode run_session(Process& process, const Arguments& arguments, const Launcher& launcher, const RankJob& job) {
  const auto [config, steps_done] = read_configuration(arguments, launcher, process, job);
  if (launcher.is_one_of_more_tasks()) say(note_on(launcher, this_start()));
  const std::chrono::milliseconds deadline =
      std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(config.parallel.deadline_seconds));
  if (job.open) job.open(config, steps_done);
  const std::shared_ptr<Communicator> host_world = process.world(deadline);
  LoggedCommunicator start = start_group(process, host_world);
  const StepEstimate estimate = estimate_run(config, process.rank(), job.purpose, steps_done);
  try {
    const std::unique_ptr<Kernels> kernels =
        make_kernels(config.parallel.backend, {.local_rank = process.node_rank(),
                                               .deterministic = config.parallel.deterministic,
                                               .attention = config.parallel.attention});
    announce(process, launcher, config, estimate, *kernels, start);
    const auto world =
        make_device_world(host_world, *kernels, config.parallel.device_transport, process.options(deadline));
    return run_on_device(process, config, estimate, *kernels, world, job);
  } catch (const OutOfMemory& error) {
    const std::string advice =
        !job.to_need_less.empty()
            ? job.to_need_less
            : fmt::format(
                  "training.recompute BLOCK_BUT_ATTENTION or BLOCK (activation checkpointing), a smaller "
                  "training.micro_batch or training.loss_chunk, more ranks; `ropewalk plan {} --advice` prints "
                  "what each saves and costs",
                  arguments.positional().front());
    throw OutOfMemory(fmt::format("{}\n  planned for rank {}: {}\n  to need less: {}", error.what(), process.rank(),
                                  memory_line(estimate, config), advice));
  }
}

}  // namespace

ExitCode run_on_ranks(const Arguments& arguments, const Launcher& launcher, const RankJob& job) {
  std::chrono::seconds deadline = kStartDeadline;
  try {
    deadline = start_deadline(arguments);
  } catch (const ConfigurationError&) {  // run_session() throws it again, on all ranks together
  }
  return run_process(
      launcher, [&](Process& process) { return run_session(process, arguments, launcher, job); }, deadline);
}

std::vector<Option> rank_options() {
  return {
      {"set", "FIELD=VALUE", "set a field of CONFIG; may be repeated, the last value wins", Option::Count::kRepeated},
      {"start-deadline", "SECONDS",
       "how long ranks wait for each other until the configuration is read; from then on "
       "parallel.deadline_seconds holds. Default: 120"}};
}

}  // namespace ropewalk
