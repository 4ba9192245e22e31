// Writes a checkpoint with the initial weights of a model, without optimizer state, into the configuration's
// output.directory. It needs no more memory than the weights.
#include <cstdio>

#include "kernels/kernels.h"
#include "parallel/communicator/thread_communicator.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/model/initial_weights.h"
#include "trainer/model/replica.h"
#include "trainer/run/starting_point.h"

int main(int argc, char** argv) {
  using namespace ropewalk;
  if (argc != 2) return std::fputs("usage: draw_checkpoint CONFIG\n", stderr), 2;
  const Config config = load_config(argv[1], {}, 1);
  const auto kernels = make_kernels(config.parallel.backend);
  Mesh mesh({}, ThreadWorld(1, std::chrono::seconds(60)).communicator(0));
  Arena arena(*kernels);
  ModelReplica replica(config, {mesh, *kernels, arena});
  draw_initial_weights(replica.state(), replica.table, config.model, config.training.seed, *kernels);
  save_checkpoint(checkpoints_of(config.output.directory), {.step = 1}, replica.state(), {config.resolved_text, {}},
                  mesh, *kernels);
  return 0;
}
