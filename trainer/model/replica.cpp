#include "trainer/model/replica.h"

namespace ropewalk {

ModelReplica::ModelReplica(const Config& config_, Rank rank_)
    : config(config_),
      rank(rank_),
      region(rank.mesh.tensor(), config.parallel.sequence_parallel),
      table(config.model, rank.mesh.shape(), rank.mesh.tensor_rank(), region.token_split(),
            config.parallel.bucket_parameters),
      weights(table, rank.kernels.dtype(), rank.kernels),
      model(config.model, table, rank, region, config.training.loss_chunk, config.training.recompute) {}

std::vector<StateTensor> ModelReplica::state() const {
  std::vector<StateTensor> out = weights.state();
  if (rank.mesh.gradient().rank() > 0)
    for (StateTensor& weight : out) weight.saved_here = false;
  return out;
}

}  // namespace ropewalk
