#include "parallel/mesh.h"

#include <utility>

#include "parallel/communicator/counting_communicator.h"

namespace ropewalk {
namespace {

constexpr const char* kAxisNames[] = {"world", "tensor", "sequence", "batch", "gradient", "key_replicas"};

void check_shape(const MeshShape& shape, int ranks, int key_heads) {
  const std::pair<const char*, int> values[] = {{"data_parallel", shape.data_parallel},
                                                {"context_parallel", shape.context_parallel},
                                                {"tensor_parallel", shape.tensor_parallel},
                                                {"key_heads", key_heads}};
  for (const auto& [name, value] : values) {
    if (value < 1) throw ConfigurationError(fmt::format("{} is {}; it must be at least 1", name, value));
  }
  // In floating point, because the product of three axes may overflow an integer; exact for any real number of ranks.
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

std::string mesh_text(const MeshShape& shape) {
  return fmt::format("data {} x context {} x tensor {}", shape.data_parallel, shape.context_parallel,
                     shape.tensor_parallel);
}

// A color combines the coordinates that the ranks of a group have in common. Within a group, ranks are in world order.
Mesh::Mesh(MeshShape shape, int rank, int key_heads, const MakeGroup& group) : shape_(shape) {
  const auto tensor = [=](int r) { return r % shape.tensor_parallel; };
  const auto context = [=](int r) { return r / shape.tensor_parallel % shape.context_parallel; };
  const auto data = [=](int r) { return r / shape.tensor_parallel / shape.context_parallel; };
  tensor_rank_ = tensor(rank);
  context_rank_ = context(rank);
  data_rank_ = data(rank);

  world_ = group(0, nullptr);
  tensor_ = group(1, [=](int r) { return data(r) * shape.context_parallel + context(r); });
  sequence_ = group(kSequenceAxis, [=](int r) { return data(r) * shape.tensor_parallel + tensor(r); });
  batch_ = group(3, [=](int r) { return context(r) * shape.tensor_parallel + tensor(r); });
  gradient_ = group(4, tensor);
  key_replicas_ = group(5, [alike = replicas(shape, key_heads)](int r) { return r / alike; });
}

Mesh::Mesh(MeshShape shape, std::shared_ptr<Communicator> world, int key_heads, bool checked,
           const FailureHandler& on_failure)
    : Mesh((check_shape(shape, world->size(), key_heads), shape), world->rank(), key_heads,
           [&](size_t axis, const Color& color) {
             LoggedCommunicator whole(world, "world", checked, on_failure);
             return color ? whole.split(kAxisNames[axis], color(world->rank()), world->rank())
                          : std::make_unique<LoggedCommunicator>(world, kAxisNames[axis], checked, on_failure);
           }) {}

Mesh Mesh::counting(MeshShape shape, int rank, int key_heads, CountingGroups* groups) {
  check_shape(shape, shape.size(), key_heads);
  const auto places = Mesh::places(shape, rank, key_heads), sizes = Mesh::sizes(shape, key_heads);
  return Mesh(shape, rank, key_heads, [&](size_t axis, const Color&) {
    const auto counting = std::make_shared<CountingCommunicator>(places[axis], sizes[axis]);
    if (groups) groups->emplace(kAxisNames[axis], counting);
    return std::make_unique<LoggedCommunicator>(counting, kAxisNames[axis]);
  });
}

std::array<int, Mesh::kAxes> Mesh::sizes(const MeshShape& shape, int key_heads) {
  return {shape.size(),
          shape.tensor_parallel,
          shape.context_parallel,
          shape.data_parallel,
          shape.data_parallel * shape.context_parallel,
          replicas(shape, key_heads)};
}

std::array<int, Mesh::kAxes> Mesh::places(const MeshShape& shape, int rank, int key_heads) {
  const int tensor = rank % shape.tensor_parallel, gradient = rank / shape.tensor_parallel;
  return {rank,
          tensor,
          gradient % shape.context_parallel,
          gradient / shape.context_parallel,
          gradient,
          tensor % replicas(shape, key_heads)};
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
