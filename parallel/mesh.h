// The ranks as a grid: data x context x tensor, tensor fastest. Groups are named by purpose, never by axis number.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "parallel/communicator/logged_communicator.h"

namespace ropewalk {

class CountingCommunicator;

constexpr int64_t kMostRanks = 1 << 20;  // far more than any job has; products of axes fit an int

struct MeshShape {
  int data_parallel = 1;     // copies of the model that see different sequences
  int context_parallel = 1;  // ranks that share one sequence
  int tensor_parallel = 1;   // ranks that share each weight
  int size() const { return data_parallel * context_parallel * tensor_parallel; }
  bool operator==(const MeshShape&) const = default;
};

std::string mesh_text(const MeshShape& shape);  // "data 1 x context 8 x tensor 4"

// This rank's place and its groups. Rank = (data * context_parallel + context) * tensor_parallel + tensor.
class Mesh {
 public:
  // Collective over `world`, whose size must be shape.size(). key_heads: of the model; where the tensor group is
  // larger, `key_replicas().size()` consecutive ranks hold each key head. checked, on_failure: see LoggedCommunicator.
  // Throws ConfigurationError.
  Mesh(MeshShape shape, std::shared_ptr<Communicator> world, int key_heads = 1 << 30, bool checked = false,
       const FailureHandler& on_failure = {});
  // The mesh of one rank without the others, for estimates: nothing moves, and bytes are counted
  // (CountingCommunicator). Throws ConfigurationError.
  // groups: gets the communicator of each axis.
  using CountingGroups = std::map<std::string, std::shared_ptr<CountingCommunicator>>;
  static Mesh counting(MeshShape shape, int rank, int key_heads = 1 << 30, CountingGroups* groups = nullptr);

  const MeshShape& shape() const { return shape_; }
  int data_rank() const { return data_rank_; }
  int context_rank() const { return context_rank_; }
  int tensor_rank() const { return tensor_rank_; }

  Communicator& world() const { return *world_; }
  Communicator& tensor() const { return *tensor_; }      // shares each weight
  Communicator& sequence() const { return *sequence_; }  // shares each sequence
  Communicator& batch() const { return *batch_; }        // sees different sequences (data only)
  Communicator& gradient() const { return *gradient_; }  // data x context: holds the same weights, sums their gradients
  // Holds the same key head; of size 1 if tensor_parallel <= key heads.
  Communicator& key_replicas() const { return *key_replicas_; }

  // What this rank has called, sent and waited for since the mesh was made, by group: world, tensor, sequence, batch,
  // gradient, key_replicas.
  std::vector<std::pair<std::string, CommunicationCounters>> counters() const;
  static constexpr size_t kAxes = 6, kSequenceAxis = 2;
  // A rank's place in each of its groups, in the same order.
  static std::array<int, kAxes> places(const MeshShape& shape, int rank, int key_heads);
  void set_trace(Trace* trace);  // of all groups; see LoggedCommunicator

 private:
  // Consecutive tensor ranks that hold the same key head.
  static int replicas(const MeshShape& shape, int key_heads) {
    return shape.tensor_parallel > key_heads ? shape.tensor_parallel / key_heads : 1;
  }

  using Color = std::function<int(int rank)>;
  // Makes the group of the ranks whose color is this rank's; without a color, of all ranks.
  using MakeGroup = std::function<std::unique_ptr<LoggedCommunicator>(const char* axis, const Color& color)>;
  Mesh(MeshShape shape, int rank, int key_heads, const MakeGroup& group);

  MeshShape shape_;
  int data_rank_, context_rank_, tensor_rank_;
  std::unique_ptr<LoggedCommunicator> world_, tensor_, sequence_, batch_, gradient_, key_replicas_;
};

}  // namespace ropewalk
