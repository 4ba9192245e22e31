#include <algorithm>
#include <cmath>

#include "launch/memory_report.h"
#include "launch/plan_report.h"
#include "trainer/config/stages.h"
#include "trainer/run/device_memory.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

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

std::string memory_table(const MeshEstimate& estimate, const Config& config) {
  const int ranks = config.parallel.mesh.size();
  const bool gpu = config.parallel.backend == BackendKind::kCuda;
  std::string out =
      ranks == 1 ? "memory\n" : fmt::format("memory of rank {}, which needs most\n", estimate.fullest_rank);
  const auto total = static_cast<double>(needed_bytes(estimate.fullest, config));
  for (const MemoryLine& line : device_lines(estimate.fullest, config))
    add_line(out, line.name, bytes_text(static_cast<double>(line.bytes)), static_cast<double>(line.bytes) / total,
             line.remark);
  add_line(out, "total", bytes_text(total), 1,
           ranks == 1 ? "" : fmt::format("at most {} for {}", bytes_text(total * ranks), counted(ranks, "rank")));
  if (gpu)
    out += fmt::format("  host memory: {} for sequences, program and MPI, without CUDA's libraries\n",
                       bytes_text(static_cast<double>(host_bytes(estimate.fullest, config))));
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
  for (const StepTime::Part& part : time.communication) {
    if (part.transfer < 1e-5 * total) continue;
    const std::string link = fmt::format("{} ({})", part.inside ? device.link : "net",
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

std::string fit_line(int64_t needed, const Machine& machine, const MeshShape& mesh) {
  const int64_t has = machine.memory_of_rank(mesh);
  if (has == 0)
    return fmt::format("Whether a rank fits is unknown{}: give --device-memory (80GiB) or --device (h100, ...).\n",
                       machine.gpu_problem.empty() ? "" : fmt::format(" ({})", machine.gpu_problem));
  const auto need = static_cast<double>(needed), limit = static_cast<double>(has);
  const std::string source = machine.memory_source_of(mesh);
  return needed <= has
             ? fmt::format("It fits: a rank needs {} of {} ({}).\n", bytes_text(need), bytes_text(limit), source)
             : fmt::format("It does not fit: a rank needs {}, {} more than it has ({}: {}).\n", bytes_text(need),
                           bytes_text(need - limit), bytes_text(limit), source);
}

std::string words_of(const Change& change) {
  std::string out;
  for (const std::string& setting : change.settings) out += fmt::format("{}--set {}", out.empty() ? "" : " ", setting);
  return out;
}

std::string signed_bytes(int64_t bytes) {
  return bytes == 0 ? "-"
                    : fmt::format("{}{}", bytes < 0 ? "-" : "+", bytes_text(std::abs(static_cast<double>(bytes))));
}

std::string advice_table(const MemoryAdvice& advice, bool too_large) {
  if (advice.changes.empty()) return "\nNone of the settings that `plan` tries reduces memory.\n";
  std::string out = fmt::format("\n  {:<46}{:>10}{:>11}{:>13}{:>12}{:>8}\n", "settings that reduce memory", "memory",
                                "saved", "sent", "FLOPs", "ranks");
  for (const Change& change : advice.changes) {
    out += fmt::format(
        "{} {:<46}{:>10}{:>11}{:>13}{:>12}{:>8}\n", too_large && change.fits ? "*" : " ", change.settings.front(),
        bytes_text(static_cast<double>(change.needed)), bytes_text(static_cast<double>(change.saved)),
        signed_bytes(change.sent_more),
        std::abs(change.arithmetic_more) < 5e-4 ? "-" : fmt::format("{:+.1f} %", 100 * change.arithmetic_more),
        change.ranks_more == 0 ? "-" : fmt::format("+{}", change.ranks_more));
  }
  const bool one_suffices = too_large && std::ranges::any_of(advice.changes, &Change::fits);
  out += fmt::format("  (of one rank: memory, saved, sent in a step; of all ranks: FLOPs{})\n",
                     one_suffices ? "; *: fits" : "");
  if (!too_large) return out;
  if (!advice.smallest) return out + "\nNo combination of up to four settings fits.\n";
  const auto add = [&](const char* what, const Change& change) {
    out +=
        fmt::format("{}: {} ({} per rank)\n", what, words_of(change), bytes_text(static_cast<double>(change.needed)));
  };
  out += "\n";
  add("The smallest change that fits", *advice.smallest);
  if (advice.smallest->ranks_more == 0) return out;
  if (advice.with_these_ranks)
    add("Without more ranks", *advice.with_these_ranks);
  else
    out += "Without more ranks, no combination of up to four settings fits.\n";
  return out;
}

}  // namespace

std::string seconds_text(double seconds) {
  if (seconds >= 10) return duration_text(seconds);
  if (seconds >= 1) return fmt::format("{:.2f} s", seconds);
  if (seconds >= 0.1) return fmt::format("{:.0f} ms", seconds * 1e3);
  return seconds >= 1e-3 ? fmt::format("{:.1f} ms", seconds * 1e3) : fmt::format("{:.2f} ms", seconds * 1e3);
}

std::string model_note(const Machine& machine, const MeshShape& mesh) {
  return fmt::format(
      "\nThe model: matrix products and attention run at the fractions of the peak that Ropewalk's kernels reach,\n"
      "memory-bound operations at a fraction of the bandwidth; of communication, only the exposed part adds time\n"
      "(trainer/run/step_time.h). {} per host; one-way bandwidth of a rank: {}\n",
      counted(machine.ranks_on_host(mesh), "rank"), machine.links_source);
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
  const MeshShape& mesh = plan.config.parallel.mesh;
  if (machine.device) out += model_note(machine, mesh);
  out += "\n" + fit_line(plan.needed, machine, mesh);
  const int64_t has = machine.memory_of_rank(mesh);
  if (advice) out += advice_table(*advice, has > 0 && plan.needed > has);
  return out;
}

}  // namespace ropewalk
