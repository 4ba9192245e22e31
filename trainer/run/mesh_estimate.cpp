#include "trainer/run/mesh_estimate.h"

#include <algorithm>

namespace ropewalk {

// Data ranks do the same on other sequences.
MeshEstimate estimate_mesh(const Config& config, const Stage& stage, Purpose purpose) {
  const MeshShape& mesh = config.parallel.mesh;
  const int different = mesh.context_parallel * mesh.tensor_parallel;
  MeshEstimate out;
  for (int rank = 0; rank < different; ++rank) {
    const StepEstimate estimate = estimate_step(config, stage, rank, purpose);
    out.mean_flops += static_cast<double>(estimate.flops.total()) / different;
    out.memory_traffic = std::max(out.memory_traffic, estimate.memory_traffic);
    if (estimate.flops.total() > out.busiest.total()) out.busiest = estimate.flops;
    out.bytes_sent.resize(estimate.bytes_sent.size());
    for (size_t axis = 0; axis < estimate.bytes_sent.size(); ++axis) {
      const auto& [name, bytes] = estimate.bytes_sent[axis];
      MeshEstimate::Sent& sent = out.bytes_sent[axis];
      sent = {name, std::max(bytes, sent.most), sent.all + bytes * mesh.data_parallel};
    }
    if (rank > 0 && process_bytes(estimate) <= process_bytes(out.fullest)) continue;
    out.fullest = estimate;
    out.fullest_rank = rank;
  }
  return out;
}

}  // namespace ropewalk
