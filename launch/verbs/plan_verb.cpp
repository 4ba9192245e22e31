// `ropewalk plan`: what a step needs on each rank, whether a rank fits, and how long a step takes, before anything is
// launched.
#include "launch/plan_options.h"
#include "launch/plan_report.h"
#include "launch/precision_option.h"
#include "launch/process/output.h"
#include "launch/search_report.h"
#include "launch/verbs/verbs.h"
#include "trainer/run/memory_advice.h"
#include "trainer/run/mesh_search.h"
#include "trainer/run/starting_point.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

Purpose purpose_of(const Arguments& arguments) {
  return arguments.has("inference") ? Purpose::kInference : Purpose::kTraining;
}

void refuse_beside_search(const Arguments& arguments, int64_t ranks) {
  for (const char* other : {"mesh", "ranks", "advice"})
    if (arguments.has(other))
      throw ConfigurationError(
          fmt::format("--search tries all meshes of {}; leave out --{}", counted(ranks, "rank"), other));
}

// What the user names: a file, settings, and the checkpoint from which the run would start.
struct Planned {
  std::string file, text;
  std::vector<std::string> settings;
  CheckpointModel checkpoint;

  Planned(const Arguments& arguments, std::vector<std::string> all_settings)
      : file(arguments.positional().front()),
        text(read_config_file(file)),
        settings(std::move(all_settings)),
        checkpoint(find_starting_point(text, file, settings).model) {}

  // The configuration for a number of ranks with these settings, and more.
  Reconfigure on(std::optional<int> ranks) const {
    return [*this, ranks](const std::vector<std::string>& more) {
      std::vector<std::string> all = settings;
      all.insert(all.end(), more.begin(), more.end());
      return parse_config(text, file, all, ranks, 0, checkpoint);
    };
  }
};

// The configuration with the first mesh of `ranks` ranks that it allows. Throws ConfigurationError if it allows none,
// with the error of the first.
Config allowed_config(int ranks, const Reconfigure& reconfigure) {
  std::string why;
  for (const std::vector<std::string>& shape : mesh_shapes(ranks)) {
    try {
      return reconfigure(shape);
    } catch (const ConfigurationError& error) {
      if (why.empty()) why = error.what();
    }
  }
  throw ConfigurationError(fmt::format(
      "--search {}: the configuration allows no mesh of {}. The purely data-parallel mesh is refused because:\n{}",
      ranks, counted(ranks, "rank"), why));
}

MemoryLimit limit_of(const Machine& machine) {
  return [&machine](const MeshShape& mesh) { return machine.memory_of_rank(mesh); };
}

ExitCode search(const Arguments& arguments, const std::vector<std::string>& settings) {
  const auto ranks = static_cast<int>(*arguments.whole_number("search", 1, kMostRanks));
  refuse_beside_search(arguments, ranks);
  const Planned planned(arguments, settings);
  const Reconfigure reconfigure = planned.on(ranks);
  const Machine machine = machine_of(arguments, allowed_config(ranks, reconfigure));
  if (!machine.device)
    throw ConfigurationError(
        fmt::format("--search compares meshes by step time, which needs --device (h100, cpu, ...){}",
                    machine.gpu_problem.empty() ? "" : "; " + machine.gpu_problem));
  const Purpose purpose = purpose_of(arguments);
  const MeshSearch found =
      search_meshes(ranks, reconfigure, purpose, *machine.device, machine.links, limit_of(machine));
  const SearchReport report{found, purpose, ranks, machine};
  print(arguments.has("json") ? search_json(report) : fmt::format("{}: {}", planned.file, search_text(report)));
  return ExitCode::kDone;
}

ExitCode run(const Arguments& arguments, const Launcher& launcher) {
  std::vector<std::string> settings = settings_of_device(arguments);
  for (const std::string& setting : settings_with_precision(arguments)) settings.push_back(setting);
  for (const char* option : {"search", "mesh"}) refuse_axes_in_set(arguments, option);
  if (arguments.has("search")) return search(arguments, settings);
  if (arguments.has("mesh"))
    for (const std::string& setting : mesh_settings(arguments.value("mesh"))) settings.push_back(setting);
  // Without --ranks, the number of ranks is the product of --mesh.
  const bool mesh_given = arguments.has("mesh") && !arguments.has("ranks");
  const Planned planned(arguments, std::move(settings));
  Config config = planned.on(mesh_given ? std::nullopt : ranks_of(arguments, launcher))({});
  const Machine machine = machine_of(arguments, config);
  const Purpose purpose = purpose_of(arguments);
  const Evaluation plan = evaluate_plan(std::move(config), purpose);
  PlanReport report{.plan = plan, .purpose = purpose, .machine = machine};
  const int64_t has = machine.memory_of_rank(plan.config.parallel.mesh);
  if (arguments.has("advice") || (has > 0 && plan.needed > has))
    report.advice = advise_on_memory(plan, planned.on(std::nullopt), purpose, limit_of(machine));
  if (arguments.has("json")) {
    print(plan_json(report));
    return ExitCode::kDone;
  }
  const MeshShape& mesh = plan.config.parallel.mesh;
  print(fmt::format("{} on {}: {}, {}\n{}", planned.file, counted(mesh.size(), "rank"), mesh_text(mesh),
                    precision_of(compute_type(plan.config.parallel.backend)), plan_text(report)));
  return ExitCode::kDone;
}

}  // namespace

Verb plan_verb() {
  return {
      .name = "plan",
      .summary = "whether a job fits and how fast it will be, before anything is launched",
      .positional = {"CONFIG"},
      .about =
          "Prints what each rank needs for a training step of CONFIG: memory by kind, bytes sent by axis of the\n"
          "mesh, and FLOPs. This is a dry run of the real step: it computes nothing, and needs neither the data\n"
          "nor the machines. If CONFIG leaves the model to a checkpoint, only the checkpoint's manifest is read.\n\n"
          "Memory is compared with what a rank has: --device-memory, else the memory of the GPU that --device\n"
          "names; else, on CUDA, this host's GPU, and on CPUs a rank's share of this host's free memory. If a rank\n"
          "needs more than it has, the plan lists settings that reduce memory, each with its price (bytes sent,\n"
          "FLOPs, ranks), and the smallest change that fits. --advice prints the list in any case.\n\n"
          "With --device, or with a known GPU in this host, the plan models step time and MFU: matrix products\n"
          "(GEMMs) and attention run at the fractions of the peak that Ropewalk's kernels reach, memory-bound\n"
          "operations at a fraction of the bandwidth, and exposed communication is added. --device cpu first times\n"
          "a matrix product, in the run's precision, and a copy on this host (in bf16 attention too); if\n"
          "output.peak_flops is set, only the copy is timed. --search N prints the meshes of N ranks that\n"
          "process most tokens per second.\n\n"
          "In the memory table, activations are what the forward saves for the backward, and working memory is used\n"
          "while an operation runs. Bytes sent are those of the algorithms of the host communicators; NCCL may send\n"
          "other amounts. Each sequence is taken as one document: packed documents send and compute less. --json "
          "prints\n"
          "everything as one object, in bytes, FLOP and seconds (keys: mesh, precision, work, machine,\n"
          "memory, stages, advice; with --search: ranks, work, shapes, allowed, too_large, machine, memory, best,\n"
          "smallest).",
      .groups =
          {{"What to plan",
            {{"mesh", "dp=N,cp=N,tp=N", "use this mesh instead of CONFIG's; an axis that is left out is 1"},
             {"ranks", "N", "number of ranks; data_parallel: 0 means N / (context_parallel * tensor_parallel)"},
             {"search", "N",
              "print the fastest meshes of N ranks that fit; needs --device, or a known GPU in this host"},
             {"set", "FIELD=VALUE",
              "set a field of CONFIG, as for train; may be repeated. With --mesh or --search, not an axis of the mesh",
              Option::Count::kRepeated},
             precision_option("training.precision of CONFIG, else that of the device: fp32 on CPUs, bf16 on GPUs"),
             {"inference", "",
              "plan evaluation: weights and a forward pass of one micro-batch, without gradients, optimizer state and "
              "saved activations"}}},
           {"The machines",
            {{"device", "NAME",
              "h100, h100-pcie, h100-nvl, h200, a100, a100-pcie, a100-40gb, b200, l40s, or cpu (of this host); sets "
              "parallel.device"},
             {"device-memory", "SIZE", "memory that a rank has: 80GiB, 80GB, 512MiB"},
             {"links", "nvlink=GB/s,net=GB/s",
              "one-way bandwidth of a rank: to ranks of its host (pcie=GB/s on GPUs without NVLink, shm=GB/s on CPUs), "
              "and to other hosts. Default: usual values for the device"},
             {"ranks-per-host", "N",
              "ranks on each host. Default: 8 on GPUs; on CPUs, one for each CPU of this host"}}},
           {"Output",
            {{"advice", "", "list the settings that reduce memory even if a rank fits"},
             {"json", "", "print one JSON object"}}}},
      .examples =
          {"ropewalk plan configs/command_r7b.textproto --mesh dp=1,cp=8,tp=4 --device-memory 40GiB",
           "ropewalk plan configs/command_r7b.textproto --mesh dp=8,tp=2 --device h100",
           "ropewalk plan configs/command_r7b.textproto --search 64 --device h100 --links nvlink=450,net=50 \\\n"
           "      --set data.sequence_length=131072 --set training.recompute=BLOCK_BUT_ATTENTION",
           "ropewalk plan configs/rnope_swa.textproto --mesh cp=2 --device cpu",
           "ropewalk plan configs/command_r7b.textproto --mesh tp=4 --inference"},
      .run = run};
}

}  // namespace ropewalk
