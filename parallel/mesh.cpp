#include "parallel/mesh.h"

#include <utility>

namespace ropewalk {
namespace {

void check_shape(const MeshShape& shape, int ranks, int key_heads) {
  const std::pair<const char*, int> values[] = {{"data_parallel", shape.data_parallel},
                                                {"context_parallel", shape.context_parallel},
                                                {"tensor_parallel", shape.tensor_parallel},
                                                {"key_heads", key_heads}};
  for (const auto& [name, value] : values) {
    if (value < 1) throw ConfigurationError(fmt::format("{} is {}; it must be at least 1", name, value));
  }
  // In floating point, because three factors may overflow an integer; exact for any number of ranks that exists.
  const double wanted = 1.0 * shape.data_parallel * shape.context_parallel * shape.tensor_parallel;
  if (wanted != ranks) {
    throw ConfigurationError(fmt::format(
        "data_parallel({}) * context_parallel({}) * tensor_parallel({}) = {:.0f}, but {} ranks were started; "
        "start {:.0f} ranks or change these sizes so that their product is {}",
        shape.data_parallel, shape.context_parallel, shape.tensor_parallel, wanted, ranks, wanted, ranks));
  }
  if (shape.tensor_parallel > key_heads && shape.tensor_parallel % key_heads != 0) {
    throw ConfigurationError(fmt::format(
        "tensor_parallel is {} and the model has {} key heads; where there are more ranks than key heads, each head is "
        "held by the same number of ranks; set tensor_parallel to a multiple of {} or to at most {}",
        shape.tensor_parallel, key_heads, key_heads, key_heads));
  }
}

}  // namespace

Mesh::Mesh(MeshShape shape, std::shared_ptr<Communicator> world, int key_heads, bool checked,
           const FailureHandler& on_failure)
    : shape_(shape) {
  check_shape(shape, world->size(), key_heads);
  const int rank = world->rank();
  tensor_rank_ = rank % shape.tensor_parallel;
  context_rank_ = rank / shape.tensor_parallel % shape.context_parallel;
  data_rank_ = rank / shape.tensor_parallel / shape.context_parallel;

  // The ranks of a group differ in the coordinates that its color leaves out; they keep the order that they have in the
  // world.
  LoggedCommunicator start(world, "world", checked, on_failure);
  const auto group = [&](const char* axis, int color) { return start.split(axis, color, rank); };
  const int replicas = shape.tensor_parallel > key_heads ? shape.tensor_parallel / key_heads : 1;
  tensor_ = group("tensor", data_rank_ * shape.context_parallel + context_rank_);
  sequence_ = group("sequence", data_rank_ * shape.tensor_parallel + tensor_rank_);
  batch_ = group("batch", context_rank_ * shape.tensor_parallel + tensor_rank_);
  gradient_ = group("gradient", tensor_rank_);
  key_replicas_ = group("key_replicas", rank / replicas);
  world_ = std::make_unique<LoggedCommunicator>(std::move(world), "world", checked, on_failure);
}

std::vector<std::pair<std::string, CommunicationCounters>> Mesh::counters() const {
  std::vector<std::pair<std::string, CommunicationCounters>> out;
  for (const auto* group : {&world_, &tensor_, &sequence_, &batch_, &gradient_, &key_replicas_}) {
    out.emplace_back((*group)->axis(), (*group)->counters());
  }
  return out;
}

void Mesh::set_trace(Trace* trace) {
  for (auto* group : {&world_, &tensor_, &sequence_, &batch_, &gradient_, &key_replicas_}) (*group)->set_trace(trace);
}

}  // namespace ropewalk
