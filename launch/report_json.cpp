#include <nlohmann/json.hpp>

#include "launch/memory_report.h"
#include "launch/plan_report.h"
#include "launch/search_report.h"
#include "trainer/run/device_memory.h"

namespace ropewalk {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const Change& change) {
  return {{"settings", change.settings},
          {"needed", change.needed},
          {"saved", change.saved},
          {"sent_more", change.sent_more},
          {"arithmetic_more", change.arithmetic_more},
          {"ranks_more", change.ranks_more},
          {"fits", change.fits}};
}

Json json_of(const MemoryAdvice& advice) {
  Json out = {{"changes", Json::array()}, {"smallest", nullptr}, {"with_these_ranks", nullptr}};
  for (const Change& change : advice.changes) out["changes"].push_back(json_of(change));
  if (advice.smallest) out["smallest"] = json_of(*advice.smallest);
  if (advice.with_these_ranks) out["with_these_ranks"] = json_of(*advice.with_these_ranks);
  return out;
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

Json json_of(const MeshEstimate& estimate, const Config& config) {
  Json memory = Json::object(), sent = Json::object();
  for (const MemoryLine& line : memory_lines(estimate.fullest, config)) memory[line.key] = line.bytes;
  memory["total"] = needed_bytes(estimate.fullest, config);
  if (config.parallel.backend == BackendKind::kCuda) memory["host_total"] = host_bytes(estimate.fullest, config);
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

Json stage_json(const PlanReport& report, size_t index) {
  const auto& [plan, purpose, machine, advice] = report;
  const Stage& stage = plan.config.training.stages[index];
  Json out = {{"first_step", stage.first_step},
              {"sequence_length", stage.sequence_length},
              {"batch", stage.batch},
              {"micro_batch", stage.micro_batch}};
  out.update(json_of(plan.stages[index], plan.config));
  if (machine.device)
    out["time"] =
        json_of(model_step_time(plan.stages[index], plan.config, stage, purpose, *machine.device, machine.links),
                tokens_of(stage, purpose, plan.config.parallel.mesh));
  return out;
}

Json machine_json(const Machine& machine) {
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
           {{"name_inside", device.link},
            {"inside", machine.links.inside},
            {"between", machine.links.between},
            {"ranks_per_host", machine.links.ranks_per_host}}}};
}

Json mesh_json(const MeshShape& mesh) {
  return {{"data", mesh.data_parallel}, {"context", mesh.context_parallel}, {"tensor", mesh.tensor_parallel}};
}

std::string work_name(Purpose purpose) {
  return purpose == Purpose::kTraining ? "training step" : "forward pass of one micro-batch";
}

Json json_of(const MeshChoice& choice) {
  return {{"mesh", mesh_json(choice.mesh)},
          {"seconds", choice.seconds},
          {"tokens_per_second", choice.tokens_per_second()},
          {"mfu", choice.utilization},
          {"memory_bytes", choice.needed},
          {"exposed", choice.exposed}};
}

}  // namespace

std::string plan_json(const PlanReport& report) {
  const auto& [plan, purpose, machine, advice] = report;
  const MeshShape& mesh = plan.config.parallel.mesh;
  Json object = {{"mesh", mesh_json(mesh)},
                 {"precision", precision_of(compute_type(plan.config.parallel.backend))},
                 {"work", work_name(purpose)}};
  if (machine.device) object["machine"] = machine_json(machine);
  const int64_t has = machine.memory_of_rank(mesh);
  object["memory"] = {{"needed", plan.needed}, {"limit", has}, {"source", machine.memory_source_of(mesh)}};
  if (has > 0) object["memory"]["fits"] = plan.needed <= has;
  object["stages"] = Json::array();
  for (size_t i = 0; i < plan.stages.size(); ++i) object["stages"].push_back(stage_json(report, i));
  if (advice) object["advice"] = json_of(*advice);
  return object.dump(2) + "\n";
}

std::string search_json(const SearchReport& report) {
  const auto& [search, purpose, ranks, machine] = report;
  const MeshShape any = {.data_parallel = ranks};  // all have as many ranks
  Json object = {{"ranks", ranks},
                 {"work", work_name(purpose)},
                 {"shapes", search.shapes},
                 {"allowed", search.allowed},
                 {"too_large", search.too_large},
                 {"machine", machine_json(machine)},
                 {"memory", {{"limit", machine.memory_of_rank(any)}, {"source", machine.memory_source_of(any)}}},
                 {"best", Json::array()},
                 {"smallest", nullptr}};
  for (const MeshChoice& choice : search.choices) object["best"].push_back(json_of(choice));
  if (search.smallest) object["smallest"] = json_of(*search.smallest);
  return object.dump(2) + "\n";
}

}  // namespace ropewalk
