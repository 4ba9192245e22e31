// `ropewalk plan`: what a step needs on each rank, whether it fits, and how long it takes, before anything is launched.
#include "launch/estimate_report.h"
#include "launch/plan_options.h"
#include "launch/process/output.h"
#include "launch/verbs/verbs.h"
#include "trainer/config/load_config.h"
#include "trainer/run/memory_advice.h"
#include "trainer/run/mesh_search.h"
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

// Of any mesh that is allowed; throws ConfigurationError that says why none is.
Config allowed_config(int ranks, const Reconfigure& reconfigure) {
  std::string why;
  for (const std::vector<std::string>& shape : mesh_shapes(ranks)) {
    try {
      return reconfigure(shape);
    } catch (const ConfigurationError& error) {
      if (why.empty()) why = error.what();
    }
  }
  throw ConfigurationError(
      fmt::format("--search {}: the configuration allows no mesh of {}; of the data parallel one:\n{}", ranks,
                  counted(ranks, "rank"), why));
}

ExitCode search(const Arguments& arguments, const std::vector<std::string>& settings) {
  const std::string& file = arguments.positional().front();
  const auto ranks = static_cast<int>(*arguments.whole_number("search", 1, kMostRanks));
  refuse_beside_search(arguments, ranks);
  const std::string text = read_config_file(file);
  const Reconfigure reconfigure = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = settings;
    all.insert(all.end(), more.begin(), more.end());
    return parse_config(text, file, all, ranks);
  };
  const Machine machine = machine_of(arguments, allowed_config(ranks, reconfigure));
  if (!machine.device)
    throw ConfigurationError("--search ranks meshes by the time of a step, which needs --device (h100, cpu, ...)");
  const MeshSearch found =
      search_meshes(ranks, reconfigure, purpose_of(arguments), *machine.device, machine.links, machine.memory);
  if (arguments.has("json"))
    print(search_json(found, ranks, machine));
  else
    print(fmt::format("{}: {}", file, search_text(found, ranks, machine)));
  return ExitCode::kDone;
}

ExitCode run(const Arguments& arguments, const Launcher& launcher) {
  const std::string& file = arguments.positional().front();
  std::vector<std::string> settings = settings_of_device(arguments);
  for (const std::string& setting : arguments.values("set")) settings.push_back(setting);
  if (arguments.has("search")) return search(arguments, settings);
  if (arguments.has("mesh"))
    for (const std::string& setting : mesh_settings(arguments.value("mesh"))) settings.push_back(setting);
  const bool mesh_given = arguments.has("mesh") && !arguments.has("ranks");  // which then says how many there are
  const std::string text = read_config_file(file);
  Config config = parse_config(text, file, settings, mesh_given ? std::nullopt : ranks_of(arguments, launcher));
  const Machine machine = machine_of(arguments, config);
  const Purpose purpose = purpose_of(arguments);
  const Evaluation plan = evaluate_plan(std::move(config), purpose);
  PlanReport report{.plan = plan, .purpose = purpose, .machine = machine};
  if (arguments.has("advice") || (machine.memory > 0 && plan.needed > machine.memory)) {
    const Reconfigure reconfigure = [&](const std::vector<std::string>& more) {
      std::vector<std::string> all = settings;
      all.insert(all.end(), more.begin(), more.end());
      return parse_config(text, file, all, std::nullopt);
    };
    report.advice = advise_on_memory(plan, reconfigure, purpose, machine.memory);
  }
  if (arguments.has("json")) {
    print(plan_json(report));
    return ExitCode::kDone;
  }
  const MeshShape& mesh = plan.config.parallel.mesh;
  print(fmt::format("{} on {}: {}\n{}", file, counted(mesh.size(), "rank"), mesh_text(mesh), plan_text(report)));
  return ExitCode::kDone;
}

}  // namespace

Verb plan_verb() {
  return {
      .name = "plan",
      .summary = "whether a job fits and how fast it will be, before anything is launched",
      .positional = {"CONFIG"},
      .about =
          "Goes through a training step of CONFIG without computing anything, and prints what each rank needs for it:\n"
          "memory by kind, bytes sent by axis of the mesh, arithmetic by kind. Neither the data nor the machines are\n"
          "needed.\n\n"
          "Memory is compared with what a rank has: --device-memory, or the memory of --device; else the GPU of this\n"
          "host, or what this host has free. Where a rank needs more, the settings that reduce it follow, each with\n"
          "its price: bytes sent, arithmetic, ranks; and the smallest change that fits. --advice prints them "
          "anyway.\n\n"
          "With --device the plan has the time of a step and its MFU, by a model that the output describes: products\n"
          "and attention at the fractions of the device's peak that Ropewalk's kernels reach, other operations by\n"
          "their bytes, and the communication that no work hides. --device cpu measures a product and a copy on this\n"
          "host first (output.peak_flops replaces the product). --search N compares all meshes of N ranks.\n\n"
          "Activations are what the forward keeps for the backward; working memory is what an operation needs while\n"
          "it runs. Bytes are those of the host communicators. Where documents are packed into the sequences, less is\n"
          "sent and computed. --json prints everything as one object: bytes, FLOP, seconds (keys: mesh, work, "
          "machine,\n"
          "memory, stages, advice; with --search: ranks, shapes, allowed, too_large, machine, memory, best).",
      .groups =
          {{"What to plan",
            {{"mesh", "dp=N,cp=N,tp=N", "the mesh, instead of CONFIG's; an axis that is left out is 1"},
             {"ranks", "N", "ranks of the job; data_parallel 0 becomes what the other axes leave of them"},
             {"search", "N", "the fastest meshes of N ranks that fit; needs --device, or a known GPU in this host"},
             {"set", "FIELD=VALUE", "set a field of CONFIG, as for train; may be repeated", Option::Count::kRepeated},
             {"inference", "",
              "of a rank that evaluates: weights and a forward pass of one micro-batch, without gradients, optimizer "
              "and kept activations"}}},
           {"The machines",
            {{"device", "NAME",
              "h100, h100-pcie, h100-nvl, h200, a100, a100-pcie, a100-40gb, b200, l40s, or cpu (this host's); sets "
              "parallel.device"},
             {"device-memory", "SIZE", "memory of a rank: 80GiB, 80GB, 512MiB"},
             {"links", "nvlink=GB/s,net=GB/s",
              "what a rank sends in a second in one direction, in its host (CPU: shm=GB/s) and to other hosts. "
              "Default: what is usual for the device"},
             {"ranks-per-host", "N", "Default: 8 GPUs; one rank for each CPU of this host"}}},
           {"Output",
            {{"advice", "", "settings that reduce the memory, also where it fits"},
             {"json", "", "print one JSON object, numbers in bytes, FLOP and seconds"}}}},
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
