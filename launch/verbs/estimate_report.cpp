#include "launch/verbs/estimate_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "trainer/text/format.h"

namespace ropewalk {

namespace {

using Json = nlohmann::ordered_json;

// A kind of memory, as a person and as a script call it.
struct Line {
  const char *name, *key;
  int64_t bytes;
  std::string remark = {};
};

std::vector<Line> memory_lines(const StepEstimate& plan) {
  const MemoryUse& memory = plan.memory;
  const std::string a_token = bytes_text(plan.activation_bytes_per_token()) + " a token";
  return {{"weights", "weights", memory.weights},
          {"gradients", "gradients", memory.gradients},
          {"optimizer", "optimizer", memory.optimizer},
          {"activations", "activations", memory.activations, plan.tokens > 0 ? a_token : ""},
          {"working memory", "working", memory.working},
          {"sequences", "sequences", plan.batch_bytes},
          {"program, MPI", "program", kProgramBytes, "an estimate"}};
}

const char* purpose_of(const std::string& axis) {
  if (axis == "sequence") return "ring and halo";
  if (axis == "tensor") return "activations";
  if (axis == "gradient") return "sums, weights";
  return "";
}

void add_line(std::string& out, const std::string& name, const std::string& amount, double share,
              const std::string& remark) {
  std::string line = fmt::format("  {:<28}{:>12}  {}  {}", name, amount, bar_text(share, 22), remark);
  out += line.erase(line.find_last_not_of(' ') + 1) + "\n";
}

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

std::string memory_table(const MeshEstimate& plan, int ranks) {
  std::string out = fmt::format("memory, of rank {}, which has most\n", plan.fullest_rank);
  const auto total = static_cast<double>(process_bytes(plan.fullest));
  for (const Line& line : memory_lines(plan.fullest))
    add_line(out, line.name, bytes_text(static_cast<double>(line.bytes)), static_cast<double>(line.bytes) / total,
             line.remark);
  add_line(out, "together", bytes_text(total), 1,
           fmt::format("at most {} on {}", bytes_text(total * ranks), counted(ranks, "rank")));
  return out;
}

std::string bytes_table(const MeshEstimate& plan) {
  double largest = 0;
  for (const MeshEstimate::Sent& sent : plan.bytes_sent) largest = std::max(largest, static_cast<double>(sent.most));
  if (largest == 0) return "";
  std::string out = "\nsent by a rank in a step, at most\n";
  for (const MeshEstimate::Sent& sent : plan.bytes_sent)
    if (const auto bytes = static_cast<double>(sent.most); bytes > 0)
      add_line(out, fmt::format("{:<9} {}", sent.axis, purpose_of(sent.axis)), bytes_text(bytes), bytes / largest,
               fmt::format("{} by all ranks", bytes_text(static_cast<double>(sent.all))));
  return out;
}

std::string flops_table(const MeshEstimate& plan, double peak_flops) {
  const CountingBackend::Flops& busiest = plan.busiest;
  std::string out = "\narithmetic of the busiest rank in a step, masked pairs left out\n";
  const auto add = [&](const char* name, double flops, const std::string& remark) {
    add_line(out, name, flops_text(flops), ratio(flops, busiest.total()), remark);
  };
  add("products", busiest.products, "");
  add("attention, full layers", busiest.full_attention, "");
  add("attention, sliding layers", busiest.sliding_attention, "");
  add("together", busiest.total(),
      fmt::format("{:.3f} of the mean rank, {:.2f} of the model's own", ratio(busiest.total(), plan.mean_flops),
                  ratio(busiest.total(), plan.fullest.model_flops)));
  if (peak_flops > 0)
    out +=
        fmt::format("\na step takes {} at least, by output.peak_flops\n", duration_text(busiest.total() / peak_flops));
  return out;
}

Json json_of(const MeshEstimate& plan) {
  Json memory = Json::object(), sent = Json::object();
  for (const Line& line : memory_lines(plan.fullest)) memory[line.key] = line.bytes;
  memory["total"] = process_bytes(plan.fullest);
  for (const auto& [axis, most, all] : plan.bytes_sent) sent[axis] = {{"a_rank", most}, {"all_ranks", all}};
  return {{"memory_bytes", memory},
          {"activation_bytes_per_token", plan.fullest.activation_bytes_per_token()},
          {"bytes_sent", sent},
          {"flops",
           {{"products", plan.busiest.products},
            {"full_attention", plan.busiest.full_attention},
            {"sliding_attention", plan.busiest.sliding_attention},
            {"total", plan.busiest.total()},
            {"mean", plan.mean_flops},
            {"model", plan.fullest.model_flops}}}};
}

}  // namespace

int64_t process_bytes(const StepEstimate& plan) { return plan.memory.total() + plan.batch_bytes + kProgramBytes; }

std::string memory_line(const StepEstimate& plan) {
  std::string kinds;
  for (const Line& line : memory_lines(plan))
    kinds += fmt::format("{}{} {}{}", kinds.empty() ? "" : ", ", line.name, bytes_text(static_cast<double>(line.bytes)),
                         line.remark.empty() ? "" : fmt::format(" ({})", line.remark));
  return fmt::format("{}: {}", bytes_text(static_cast<double>(process_bytes(plan))), kinds);
}

// Data ranks do the same on other sequences.
MeshEstimate estimate_mesh(const Config& config, const Stage& stage) {
  const MeshShape& mesh = config.parallel.mesh;
  const int different = mesh.context_parallel * mesh.tensor_parallel;
  MeshEstimate out;
  for (int rank = 0; rank < different; ++rank) {
    const StepEstimate plan = estimate_step(config, stage, rank);
    out.mean_flops += plan.flops.total() / different;
    if (plan.flops.total() > out.busiest.total()) out.busiest = plan.flops;
    out.bytes_sent.resize(plan.bytes_sent.size());
    for (size_t axis = 0; axis < plan.bytes_sent.size(); ++axis) {
      const auto& [name, bytes] = plan.bytes_sent[axis];
      MeshEstimate::Sent& sent = out.bytes_sent[axis];
      sent = {name, std::max(bytes, sent.most), sent.all + bytes * mesh.data_parallel};
    }
    if (rank > 0 && process_bytes(plan) <= process_bytes(out.fullest)) continue;
    out.fullest = plan;
    out.fullest_rank = rank;
  }
  return out;
}

std::string estimate_table(const MeshEstimate& plan, const Config& config) {
  return memory_table(plan, config.parallel.mesh.size()) + bytes_table(plan) +
         flops_table(plan, config.output.peak_flops);
}

std::string estimate_json(const std::vector<MeshEstimate>& stages, const Config& config) {
  const MeshShape& mesh = config.parallel.mesh;
  Json object = {
      {"mesh", {{"data", mesh.data_parallel}, {"context", mesh.context_parallel}, {"tensor", mesh.tensor_parallel}}},
      {"stages", Json::array()}};
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = config.training.stages[i];
    Json entry = {{"first_step", stage.first_step}, {"sequence_length", stage.sequence_length}, {"batch", stage.batch}};
    entry.update(json_of(stages[i]));
    object["stages"].push_back(std::move(entry));
  }
  return object.dump(2) + "\n";
}

}  // namespace ropewalk
