// Formats the estimate of a rank's memory, FLOPs and bytes sent, as text for people and as JSON for scripts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/plan_options.h"
#include "trainer/config/config.h"
#include "trainer/run/memory_advice.h"
#include "trainer/run/mesh_estimate.h"
#include "trainer/run/mesh_search.h"
#include "trainer/run/step_time.h"

namespace ropewalk {

// A line for the start of a run: "812 MiB: weights 120 MiB, ...".
std::string memory_line(const StepEstimate& estimate);

// A plan: estimates of all stages on the machine, and what would make it fit.
struct PlanReport {
  const Evaluation& plan;
  Purpose purpose = Purpose::kTraining;
  const Machine& machine;
  std::optional<MemoryAdvice> advice = {};
};

// The tables of one stage, the advice after all of them.
std::string plan_text(const PlanReport& report);
// One object; bytes, FLOP, seconds, bytes/s:
//
//   mesh          data, context, tensor
//   work          "training step" or "forward pass of one micro-batch"
//   machine       with a known device: device, source, peak_flops, memory_bytes_per_second, efficiency (products,
//                 full_attention, sliding_attention, memory), links (inside, between, ranks_per_host)
//   memory        of a rank: needed, limit (0: not known), source of the limit, fits
//   stages[]      first_step, sequence_length, batch, micro_batch
//     memory_bytes  by kind, total of the process; of a GPU: cuda_context, nccl, device_total
//     activation_bytes_per_token
//     bytes_sent    by axis: a_rank, all_ranks
//     flops         products, full_attention, sliding_attention, total, mean, model
//     memory_traffic_bytes  of operations that memory bounds
//     time          with a known device: seconds, mfu, tokens_per_second of all ranks; of the seconds: products,
//                   full_attention, sliding_attention, memory, exposed; communication[]: name, inside_a_host,
//                   transfer, exposed
//   advice        with --advice, or where a rank does not fit: changes[], smallest, with_these_ranks (null: none
//                 found); each is settings[], needed, saved, sent_more, arithmetic_more (a fraction), ranks_more, fits
std::string plan_json(const PlanReport& report);
// Mesh, work and stages alone, without the machine.
std::string estimate_json(const std::vector<MeshEstimate>& stages, const Config& config, Purpose purpose);

// The fastest meshes of a search, as a table; and as an object: ranks, shapes, allowed, too_large, best[] (mesh,
// seconds, mfu, memory_bytes, exposed), machine, memory limit.
std::string search_text(const MeshSearch& search, int ranks, const Machine& machine);
std::string search_json(const MeshSearch& search, int ranks, const Machine& machine);

}  // namespace ropewalk
