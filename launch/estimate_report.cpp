#include "launch/estimate_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "trainer/config/stages.h"
#include "trainer/run/device_memory.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

using Json = nlohmann::ordered_json;

// A kind of memory: its name in the table, and its key in JSON.
struct Line {
  const char *name, *key;
  int64_t bytes;
  std::string remark = {};
};

std::vector<Line> memory_lines(const StepEstimate& estimate) {
  const MemoryUse& memory = estimate.memory;
  const std::string a_token = bytes_text(estimate.activation_bytes_per_token()) + " a token";
  return {{"weights", "weights", memory.weights},
          {"gradients", "gradients", memory.gradients},
          {"optimizer", "optimizer", memory.optimizer},
          {"activations", "activations", memory.activations, estimate.tokens > 0 ? a_token : ""},
          {"working memory", "working", memory.working},
          {"sequences", "sequences", estimate.batch_bytes},
          {"message buffers", "messages", estimate.message_bytes},
          {"program, MPI", "program", estimate.program_bytes, "an estimate"}};
}

// Leaves out kinds of which nothing is needed.
std::vector<Line> shown_lines(const StepEstimate& estimate) {
  std::vector<Line> lines = memory_lines(estimate);
  std::erase_if(lines, [](const Line& line) { return line.bytes == 0; });
  return lines;
}

const char* use_of(const std::string& axis) {
  if (axis == "sequence") return "ring and halo";
  if (axis == "tensor") return "activations";
  if (axis == "gradient") return "gradients, weights";
  return "";
}

void add_line(std::string& out, const std::string& name, const std::string& amount, double share,
              const std::string& remark) {
  std::string line = fmt::format("  {:<28}{:>12}  {}  {}", name, amount, bar_text(share, 22), remark);
  out += line.erase(line.find_last_not_of(' ') + 1) + "\n";
}

double ratio(double a, double b) { return b > 0 ? a / b : 0; }
double number(FlopCount flops) { return static_cast<double>(flops); }

// On a GPU: tensors, CUDA and NCCL, which its memory must hold. On a CPU: everything that the process needs.
std::vector<Line> lines_of_rank(const StepEstimate& estimate, const Config& config) {
  std::vector<Line> lines = shown_lines(estimate);
  if (config.parallel.backend != BackendKind::kCuda) return lines;
  std::erase_if(lines, [](const Line& line) {
    return line.key == std::string("sequences") || line.key == std::string("program");
  });
  const CudaOverhead overhead = cuda_overhead(config);
  lines.push_back({"CUDA context, cuBLASLt", "cuda_context", overhead.context, "an estimate"});
  if (overhead.nccl > 0) lines.push_back({"NCCL buffers", "nccl", overhead.nccl, "an estimate"});
  return lines;
}

std::string memory_table(const MeshEstimate& estimate, const Config& config) {
  const int ranks = config.parallel.mesh.size();
  const bool gpu = config.parallel.backend == BackendKind::kCuda;
  std::string out =
      ranks == 1 ? "memory\n" : fmt::format("memory of rank {}, which needs most\n", estimate.fullest_rank);
  const auto total = static_cast<double>(needed_bytes(estimate.fullest, config));
  for (const Line& line : lines_of_rank(estimate.fullest, config))
    add_line(out, line.name, bytes_text(static_cast<double>(line.bytes)), static_cast<double>(line.bytes) / total,
             line.remark);
  add_line(out, "total", bytes_text(total), 1,
           ranks == 1 ? "" : fmt::format("at most {} for {}", bytes_text(total * ranks), counted(ranks, "rank")));
  if (gpu)
    out += fmt::format("  host memory: {} for sequences, program and MPI, without CUDA's libraries\n",
                       bytes_text(static_cast<double>(estimate.fullest.batch_bytes + estimate.fullest.message_bytes +
                                                      estimate.fullest.program_bytes)));
  return out;
}

std::string bytes_table(const MeshEstimate& estimate, const char* work) {
  double largest = 0;
  for (const MeshEstimate::Sent& sent : estimate.bytes_sent)
    largest = std::max(largest, static_cast<double>(sent.most));
  if (largest == 0) return "";
  std::string out = fmt::format("\nbytes sent in {} by the rank that sends most, per axis\n", work);
  for (const MeshEstimate::Sent& sent : estimate.bytes_sent)
    if (const auto bytes = static_cast<double>(sent.most); bytes > 0)
      add_line(out, fmt::format("{:<9} {}", sent.axis, use_of(sent.axis)), bytes_text(bytes), bytes / largest,
               fmt::format("{} by all ranks", bytes_text(static_cast<double>(sent.all))));
  return out;
}

std::string flops_table(const MeshEstimate& estimate, const char* work) {
  const Flops& busiest = estimate.busiest.flops;
  std::string out = fmt::format("\nFLOPs of {} on the busiest rank, attention counted for visible pairs only\n", work);
  const double total = number(busiest.total());
  const auto add = [&](const char* name, FlopCount flops, const std::string& remark) {
    if (flops > 0) add_line(out, name, flops_text(number(flops)), ratio(number(flops), total), remark);
  };
  add("matrix products", busiest.products, "");
  add("full attention", busiest.full_attention, "");
  add("sliding attention", busiest.sliding_attention, "");
  add("total", busiest.total(),
      fmt::format("{:.3f} x the mean over ranks, {:.2f} x the model FLOPs per rank", ratio(total, estimate.mean_flops),
                  ratio(total, estimate.fullest.model_flops)));
  return out;
}

std::string seconds_text(double seconds) {
  if (seconds >= 10) return duration_text(seconds);
  if (seconds >= 1) return fmt::format("{:.2f} s", seconds);
  if (seconds >= 0.1) return fmt::format("{:.0f} ms", seconds * 1e3);
  return seconds >= 1e-3 ? fmt::format("{:.1f} ms", seconds * 1e3) : fmt::format("{:.2f} ms", seconds * 1e3);
}

std::string rate_text(double bytes_per_second) { return fmt::format("{:.4g} GB/s", bytes_per_second / 1e9); }

double tokens_of(const Stage& stage, Purpose purpose, const MeshShape& mesh) {
  const int64_t sequences = purpose == Purpose::kTraining ? stage.batch : stage.micro_batch * mesh.data_parallel;
  return static_cast<double>(sequences * stage.sequence_length);
}

std::string time_table(const StepTime& time, const Machine& machine, const Config& config, const Stage& stage,
                       Purpose purpose, const char* work) {
  const DeviceModel& device = *machine.device;
  const double total = time.seconds();
  std::string out =
      fmt::format("\ntime of {} on {} ({}): a model, not a measurement\n", work, device.name, machine.device_source);
  const std::string peak = flops_text(device.peak_flops) + "/s";
  const auto add = [&](const std::string& name, double seconds, const std::string& remark) {
    if (seconds > 0 || !remark.empty()) add_line(out, name, seconds_text(seconds), ratio(seconds, total), remark);
  };
  const auto at_peak = [&](const char* name, double seconds, double efficiency) {
    if (seconds > 0) add(name, seconds, fmt::format("at {:.2f} of the peak, {}", efficiency, peak));
  };
  at_peak("matrix products", time.products, device.efficiency.products);
  at_peak("full attention", time.full_attention, device.efficiency.full_attention);
  at_peak("sliding attention", time.sliding_attention, device.efficiency.sliding_attention);
  add("memory-bound operations", time.memory,
      fmt::format("at {:.2f} of the bandwidth, {}", device.efficiency.memory,
                  rate_text(device.memory_bytes_per_second)));
  const char* const inside = device.is_gpu ? "nvlink" : "shm";
  for (const StepTime::Part& part : time.communication) {
    if (part.transfer < 1e-5 * total) continue;
    const std::string link = fmt::format("{} ({})", part.inside ? inside : "net",
                                         rate_text(part.inside ? machine.links.inside : machine.links.between));
    const std::string transfer = fmt::format("{} on {}, ", seconds_text(part.transfer), link);
    if (part.exposed > 0)
      add("exposed: " + part.name, part.exposed,
          fmt::format("{}{:.0f} % hidden", transfer, 100 * (1 - part.exposed / part.transfer)));
    else
      add_line(out, "exposed: " + part.name, "-", 0, transfer + "all hidden");
  }
  add("total", total,
      fmt::format("MFU {:.3f}, {} tokens/s, {:.1f} % exposed communication", time.utilization,
                  count_text(tokens_of(stage, purpose, config.parallel.mesh) / total), 100 * time.exposed() / total));
  return out;
}

std::string model_note(const Machine& machine) {
  return fmt::format(
      "\nThe model: matrix products and attention run at the fractions of the peak that Ropewalk's kernels reach,\n"
      "memory-bound operations at a fraction of the bandwidth; of communication, only the exposed part adds time\n"
      "(trainer/run/step_time.h). {} per host; one-way bandwidth of a rank: {}\n",
      counted(machine.links.ranks_per_host, "rank"), machine.links_source);
}

std::string fit_line(int64_t needed, const Machine& machine) {
  if (machine.memory == 0)
    return "Whether a rank fits is unknown: give --device-memory (80GiB) or --device (h100, ...).\n";
  const auto need = static_cast<double>(needed), limit = static_cast<double>(machine.memory);
  return needed <= machine.memory
             ? fmt::format("It fits: a rank needs {} of {} ({}).\n", bytes_text(need), bytes_text(limit),
                           machine.memory_source)
             : fmt::format("It does not fit: a rank needs {}, {} more than it has ({}: {}).\n", bytes_text(need),
                           bytes_text(need - limit), bytes_text(limit), machine.memory_source);
}

std::string joined(const std::vector<std::string>& settings) {
  std::string out;
  for (const std::string& setting : settings) out += fmt::format("{}--set {}", out.empty() ? "" : " ", setting);
  return out;
}

std::string signed_bytes(int64_t bytes) {
  return bytes == 0 ? "-"
                    : fmt::format("{}{}", bytes < 0 ? "-" : "+", bytes_text(std::abs(static_cast<double>(bytes))));
}

std::string advice_table(const MemoryAdvice& advice, int64_t needed, const Machine& machine) {
  if (advice.changes.empty()) return "\nNone of the settings that `plan` tries reduces memory.\n";
  std::string out = fmt::format("\n  {:<46}{:>10}{:>11}{:>13}{:>12}{:>8}\n", "settings that reduce memory", "memory",
                                "saved", "sent", "FLOPs", "ranks");
  for (const Change& change : advice.changes) {
    const bool fits = machine.memory > 0 && needed > machine.memory && change.needed <= machine.memory;
    out += fmt::format(
        "{} {:<46}{:>10}{:>11}{:>13}{:>12}{:>8}\n", fits ? "*" : " ", joined(change.settings).substr(6),
        bytes_text(static_cast<double>(change.needed)), bytes_text(static_cast<double>(change.saved)),
        signed_bytes(change.sent_more),
        std::abs(change.arithmetic_more) < 5e-4 ? "-" : fmt::format("{:+.1f} %", 100 * change.arithmetic_more),
        change.ranks_more == 0 ? "-" : fmt::format("+{}", change.ranks_more));
  }
  const bool too_large = machine.memory > 0 && needed > machine.memory;
  const bool one_suffices =
      too_large && std::ranges::any_of(advice.changes, [&](const Change& c) { return c.needed <= machine.memory; });
  out += fmt::format("  (of one rank: memory, saved, sent in a step; of all ranks: FLOPs{})\n",
                     one_suffices ? "; *: fits" : "");
  if (!too_large) return out;
  if (!advice.smallest) return out + "\nNo combination of up to four settings fits.\n";
  const auto add = [&](const char* what, const Change& change) {
    out += fmt::format("{}: {} ({} per rank)\n", what, joined(change.settings),
                       bytes_text(static_cast<double>(change.needed)));
  };
  out += "\n";
  add("The smallest change that fits", *advice.smallest);
  if (advice.smallest->ranks_more == 0) return out;
  if (advice.with_these_ranks)
    add("Without more ranks", *advice.with_these_ranks);
  else
    out += "Without more ranks, no combination of up to four settings was found that fits.\n";
  return out;
}

Json json_of(const Change& change, const Machine& machine) {
  return {{"settings", change.settings},
          {"needed", change.needed},
          {"saved", change.saved},
          {"sent_more", change.sent_more},
          {"arithmetic_more", change.arithmetic_more},
          {"ranks_more", change.ranks_more},
          {"fits", machine.memory > 0 && change.needed <= machine.memory}};
}

Json json_of(const MemoryAdvice& advice, const Machine& machine) {
  Json out = {{"changes", Json::array()}, {"smallest", nullptr}, {"with_these_ranks", nullptr}};
  for (const Change& change : advice.changes) out["changes"].push_back(json_of(change, machine));
  if (advice.smallest) out["smallest"] = json_of(*advice.smallest, machine);
  if (advice.with_these_ranks) out["with_these_ranks"] = json_of(*advice.with_these_ranks, machine);
  return out;
}

Json json_of(const Machine& machine) {
  const DeviceModel& device = *machine.device;
  const Efficiency& reached = device.efficiency;
  return {{"device", device.name},
          {"source", machine.device_source},
          {"peak_flops", device.peak_flops},
          {"memory_bytes_per_second", device.memory_bytes_per_second},
          {"efficiency",
           {{"products", reached.products},
            {"full_attention", reached.full_attention},
            {"sliding_attention", reached.sliding_attention},
            {"memory", reached.memory}}},
          {"links",
           {{"inside", machine.links.inside},
            {"between", machine.links.between},
            {"ranks_per_host", machine.links.ranks_per_host}}}};
}

Json json_of(const StepTime& time, double tokens) {
  Json out = {{"seconds", time.seconds()},
              {"mfu", time.utilization},
              {"tokens_per_second", tokens / time.seconds()},
              {"products", time.products},
              {"full_attention", time.full_attention},
              {"sliding_attention", time.sliding_attention},
              {"memory", time.memory},
              {"exposed", time.exposed()},
              {"communication", Json::array()}};
  for (const StepTime::Part& part : time.communication)
    out["communication"].push_back(
        {{"name", part.name}, {"inside_a_host", part.inside}, {"transfer", part.transfer}, {"exposed", part.exposed}});
  return out;
}

Json mesh_json(const MeshShape& mesh) {
  return {{"data", mesh.data_parallel}, {"context", mesh.context_parallel}, {"tensor", mesh.tensor_parallel}};
}

Json json_of(const MeshEstimate& estimate, const Config& config) {
  Json memory = Json::object(), sent = Json::object();
  for (const Line& line : memory_lines(estimate.fullest)) memory[line.key] = line.bytes;
  memory["total"] = process_bytes(estimate.fullest);
  if (config.parallel.backend == BackendKind::kCuda) {
    const CudaOverhead overhead = cuda_overhead(config);
    memory["cuda_context"] = overhead.context;
    memory["nccl"] = overhead.nccl;
    memory["device_total"] = needed_bytes(estimate.fullest, config);
  }
  for (const auto& [axis, most, all] : estimate.bytes_sent) sent[axis] = {{"a_rank", most}, {"all_ranks", all}};
  return {{"memory_bytes", memory},
          {"activation_bytes_per_token", estimate.fullest.activation_bytes_per_token()},
          {"bytes_sent", sent},
          {"flops",
           {{"products", number(estimate.busiest.flops.products)},
            {"full_attention", number(estimate.busiest.flops.full_attention)},
            {"sliding_attention", number(estimate.busiest.flops.sliding_attention)},
            {"total", number(estimate.busiest.flops.total())},
            {"mean", estimate.mean_flops},
            {"model", estimate.fullest.model_flops}}},
          {"memory_traffic_bytes", number(estimate.busiest.memory_traffic)}};
}

}  // namespace

std::string memory_line(const StepEstimate& estimate) {
  std::string kinds;
  for (const Line& line : shown_lines(estimate))
    kinds += fmt::format("{}{} {}{}", kinds.empty() ? "" : ", ", line.name, bytes_text(static_cast<double>(line.bytes)),
                         line.remark.empty() ? "" : fmt::format(" ({})", line.remark));
  return fmt::format("{}: {}", bytes_text(static_cast<double>(process_bytes(estimate))), kinds);
}

std::string plan_text(const PlanReport& report) {
  const auto& [plan, purpose, machine, advice] = report;
  const char* work = purpose == Purpose::kTraining ? "a step" : "a forward pass of one micro-batch";
  const double peak = plan.config.output.peak_flops;
  std::string out;
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    const MeshEstimate& estimate = plan.stages[i];
    const Stage& stage = plan.config.training.stages[i];
    const std::string what = purpose == Purpose::kTraining
                                 ? stage_text(stage)
                                 : fmt::format("a forward pass of {} of {} tokens",
                                               counted(stage.micro_batch, "sequence"), stage.sequence_length);
    if (plan.stages.size() > 1 || purpose == Purpose::kInference)
      out += fmt::format("\nafter step {}: {}\n", stage.first_step, what);
    else
      out += fmt::format("{}\n", what);
    out += "\n" + memory_table(estimate, plan.config) + bytes_table(estimate, work) + flops_table(estimate, work);
    if (machine.device)
      out += time_table(model_step_time(estimate, plan.config, stage, purpose, *machine.device, machine.links), machine,
                        plan.config, stage, purpose, work);
    else if (peak > 0)
      out += fmt::format("\n{} takes at least {} at output.peak_flops\n", work,
                         duration_text(number(estimate.busiest.flops.total()) / peak));
  }
  if (machine.device) out += model_note(machine);
  out += "\n" + fit_line(plan.needed, machine);
  if (advice) out += advice_table(*advice, plan.needed, machine);
  return out;
}

namespace {

Json stages_json(const std::vector<MeshEstimate>& stages, const Config& config) {
  Json out = Json::array();
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = config.training.stages[i];
    Json entry = {{"first_step", stage.first_step},
                  {"sequence_length", stage.sequence_length},
                  {"batch", stage.batch},
                  {"micro_batch", stage.micro_batch}};
    entry.update(json_of(stages[i], config));
    out.push_back(std::move(entry));
  }
  return out;
}

Json plan_head(const Config& config, Purpose purpose) {
  return {{"mesh", mesh_json(config.parallel.mesh)},
          {"work", purpose == Purpose::kTraining ? "training step" : "forward pass of one micro-batch"}};
}

}  // namespace

std::string estimate_json(const std::vector<MeshEstimate>& stages, const Config& config, Purpose purpose) {
  Json object = plan_head(config, purpose);
  object["stages"] = stages_json(stages, config);
  return object.dump(2) + "\n";
}

std::string plan_json(const PlanReport& report) {
  const auto& [plan, purpose, machine, advice] = report;
  Json object = plan_head(plan.config, purpose);
  if (machine.device) object["machine"] = json_of(machine);
  object["memory"] = {{"needed", plan.needed}, {"limit", machine.memory}, {"source", machine.memory_source}};
  if (machine.memory > 0) object["memory"]["fits"] = plan.needed <= machine.memory;
  object["stages"] = stages_json(plan.stages, plan.config);
  if (machine.device)
    for (size_t i = 0; i < plan.stages.size(); ++i) {
      const Stage& stage = plan.config.training.stages[i];
      object["stages"][i]["time"] =
          json_of(model_step_time(plan.stages[i], plan.config, stage, purpose, *machine.device, machine.links),
                  tokens_of(stage, purpose, plan.config.parallel.mesh));
    }
  if (advice) object["advice"] = json_of(*advice, machine);
  return object.dump(2) + "\n";
}

namespace {

constexpr size_t kBest = 5;

std::vector<MeshChoice> best_of(const MeshSearch& search) {
  const size_t shown = std::min(kBest, search.choices.size());
  return {search.choices.begin(), search.choices.begin() + static_cast<std::ptrdiff_t>(shown)};
}

}  // namespace

std::string search_text(const MeshSearch& search, int ranks, const Machine& machine) {
  std::string out = fmt::format("{} can form {}; the configuration allows {}", counted(ranks, "rank"),
                                counted(search.shapes, "mesh", "meshes"), search.allowed);
  if (machine.memory > 0)
    out += fmt::format(", of which {} {} more than {} per rank ({})", search.too_large,
                       search.too_large == 1 ? "needs" : "need", bytes_text(static_cast<double>(machine.memory)),
                       machine.memory_source);
  out += "\n";
  if (search.choices.empty()) {
    const MeshChoice& smallest = search.smallest.front();
    return out + fmt::format(
                     "\nNone fits. {} needs least, {} per rank; `ropewalk plan` with --mesh dp={},cp={},tp={} shows "
                     "which settings reduce memory.\n",
                     mesh_text(smallest.mesh), bytes_text(static_cast<double>(smallest.needed)),
                     smallest.mesh.data_parallel, smallest.mesh.context_parallel, smallest.mesh.tensor_parallel);
  }
  out += fmt::format("\n  {:<34}{:>10}{:>8}{:>12}{:>16}\n", "fastest meshes, by the model", "step", "MFU", "memory",
                     "exposed");
  for (const MeshChoice& choice : best_of(search))
    out +=
        fmt::format("  {:<34}{:>10}{:>8.3f}{:>12}{:>16}\n",
                    fmt::format("--mesh dp={},cp={},tp={}", choice.mesh.data_parallel, choice.mesh.context_parallel,
                                choice.mesh.tensor_parallel),
                    seconds_text(choice.seconds), choice.utilization, bytes_text(static_cast<double>(choice.needed)),
                    fmt::format("{} {:>3.0f} %", seconds_text(choice.exposed), 100 * choice.exposed / choice.seconds));
  return out + model_note(machine);
}

std::string search_json(const MeshSearch& search, int ranks, const Machine& machine) {
  Json object = {{"ranks", ranks},
                 {"shapes", search.shapes},
                 {"allowed", search.allowed},
                 {"too_large", search.too_large},
                 {"machine", json_of(machine)},
                 {"memory", {{"limit", machine.memory}, {"source", machine.memory_source}}},
                 {"best", Json::array()}};
  for (const MeshChoice& choice : best_of(search))
    object["best"].push_back({{"mesh", mesh_json(choice.mesh)},
                              {"seconds", choice.seconds},
                              {"mfu", choice.utilization},
                              {"memory_bytes", choice.needed},
                              {"exposed", choice.exposed}});
  return object.dump(2) + "\n";
}

}  // namespace ropewalk
