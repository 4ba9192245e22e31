#include "launch/estimate_report.h"

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

// Without kinds that this work does not need.
std::vector<Line> told_lines(const StepEstimate& estimate) {
  std::vector<Line> lines = memory_lines(estimate);
  std::erase_if(lines, [](const Line& line) { return line.bytes == 0; });
  return lines;
}

const char* use_of(const std::string& axis) {
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
double number(FlopCount flops) { return static_cast<double>(flops); }

std::string memory_table(const MeshEstimate& estimate, int ranks) {
  std::string out = fmt::format("memory, of rank {}, which has most\n", estimate.fullest_rank);
  const auto total = static_cast<double>(process_bytes(estimate.fullest));
  for (const Line& line : told_lines(estimate.fullest))
    add_line(out, line.name, bytes_text(static_cast<double>(line.bytes)), static_cast<double>(line.bytes) / total,
             line.remark);
  add_line(out, "together", bytes_text(total), 1,
           fmt::format("at most {} on {}", bytes_text(total * ranks), counted(ranks, "rank")));
  return out;
}

std::string bytes_table(const MeshEstimate& estimate, const char* work) {
  double largest = 0;
  for (const MeshEstimate::Sent& sent : estimate.bytes_sent)
    largest = std::max(largest, static_cast<double>(sent.most));
  if (largest == 0) return "";
  std::string out = fmt::format("\nsent by a rank in {}, at most\n", work);
  for (const MeshEstimate::Sent& sent : estimate.bytes_sent)
    if (const auto bytes = static_cast<double>(sent.most); bytes > 0)
      add_line(out, fmt::format("{:<9} {}", sent.axis, use_of(sent.axis)), bytes_text(bytes), bytes / largest,
               fmt::format("{} by all ranks", bytes_text(static_cast<double>(sent.all))));
  return out;
}

std::string flops_table(const MeshEstimate& estimate, double peak_flops, const char* work) {
  const Flops& busiest = estimate.busiest.flops;
  std::string out = fmt::format("\narithmetic of the busiest rank in {}, masked pairs left out\n", work);
  const double total = number(busiest.total());
  const auto add = [&](const char* name, FlopCount flops, const std::string& remark) {
    add_line(out, name, flops_text(number(flops)), ratio(number(flops), total), remark);
  };
  add("products", busiest.products, "");
  add("attention, full layers", busiest.full_attention, "");
  add("attention, sliding layers", busiest.sliding_attention, "");
  add("together", busiest.total(),
      fmt::format("{:.3f} of the mean rank, {:.2f} of the model's own", ratio(total, estimate.mean_flops),
                  ratio(total, estimate.fullest.model_flops)));
  if (peak_flops > 0)
    out += fmt::format("\n{} takes {} at least, by output.peak_flops\n", work, duration_text(total / peak_flops));
  return out;
}

Json json_of(const MeshEstimate& estimate) {
  Json memory = Json::object(), sent = Json::object();
  for (const Line& line : memory_lines(estimate.fullest)) memory[line.key] = line.bytes;
  memory["total"] = process_bytes(estimate.fullest);
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
            {"model", estimate.fullest.model_flops}}}};
}

}  // namespace

std::string memory_line(const StepEstimate& estimate) {
  std::string kinds;
  for (const Line& line : told_lines(estimate))
    kinds += fmt::format("{}{} {}{}", kinds.empty() ? "" : ", ", line.name, bytes_text(static_cast<double>(line.bytes)),
                         line.remark.empty() ? "" : fmt::format(" ({})", line.remark));
  return fmt::format("{}: {}", bytes_text(static_cast<double>(process_bytes(estimate))), kinds);
}

std::string estimate_table(const MeshEstimate& estimate, const Config& config, Purpose purpose) {
  const char* work = purpose == Purpose::kTraining ? "a step" : "a forward pass of one micro-batch";
  return memory_table(estimate, config.parallel.mesh.size()) + bytes_table(estimate, work) +
         flops_table(estimate, config.output.peak_flops, work);
}

std::string estimate_json(const std::vector<MeshEstimate>& stages, const Config& config, Purpose purpose) {
  const MeshShape& mesh = config.parallel.mesh;
  Json object = {
      {"mesh", {{"data", mesh.data_parallel}, {"context", mesh.context_parallel}, {"tensor", mesh.tensor_parallel}}},
      {"work", purpose == Purpose::kTraining ? "training step" : "forward pass of one micro-batch"},
      {"stages", Json::array()}};
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = config.training.stages[i];
    Json entry = {{"first_step", stage.first_step},
                  {"sequence_length", stage.sequence_length},
                  {"batch", stage.batch},
                  {"micro_batch", stage.micro_batch}};
    entry.update(json_of(stages[i]));
    object["stages"].push_back(std::move(entry));
  }
  return object.dump(2) + "\n";
}

}  // namespace ropewalk
