// The mesh of ranks: data x context x tensor, tensor varying fastest. Groups are named by purpose ("sequence",
// "gradient", ...); the code calls the name of a group its axis.
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

constexpr int64_t kMostRanks = 1 << 20;  // limit on the ranks of a mesh, so that size() fits an int

struct MeshShape {
  int data_parallel = 1;     // replicas of the model, which see different sequences
  int context_parallel = 1;  // ranks over which each sequence is split
  int tensor_parallel = 1;   // ranks over which the weight matrices are split
  int size() const { return data_parallel * context_parallel * tensor_parallel; }
  bool operator==(const MeshShape&) const = default;
};

std::string mesh_text(const MeshShape& shape);  // "data 1 x context 8 x tensor 4"

// This rank's place and its groups. Rank = (data * context_parallel + context) * tensor_parallel + tensor.
class Mesh {
 public:
  // Collective over `world`, whose size must be shape.size(). key_heads: the model's KV heads; if
  // tensor_parallel exceeds them, key_replicas().size() consecutive ranks hold each KV head. checked, on_failure: see
  // LoggedCommunicator. Throws ConfigurationError.
  Mesh(MeshShape shape, std::shared_ptr<Communicator> world, int key_heads = 1 << 30, bool checked = false,
       const FailureHandler& on_failure = {});
  // The mesh as rank `rank` sees it, without any other rank, for estimates: its groups send nothing and count the bytes
  // that they would send (CountingCommunicator). groups, unless null, receives each group's communicator under the
  // group's name. Throws ConfigurationError.
  using CountingGroups = std::map<std::string, std::shared_ptr<CountingCommunicator>>;
  static Mesh counting(MeshShape shape, int rank, int key_heads = 1 << 30, CountingGroups* groups = nullptr);

  const MeshShape& shape() const { return shape_; }
  int data_rank() const { return data_rank_; }
  int context_rank() const { return context_rank_; }
  int tensor_rank() const { return tensor_rank_; }

  // This rank's groups:
  Communicator& world() const { return *world_; }        // all ranks
  Communicator& tensor() const { return *tensor_; }      // ranks over which the weight matrices are split
  Communicator& sequence() const { return *sequence_; }  // ranks over which each sequence is split
  Communicator& batch() const { return *batch_; }        // ranks that differ only in data_rank()
  Communicator& gradient() const { return *gradient_; }  // data x context: hold the same weights, sum their gradients
  // Ranks of the tensor group that hold the same KV head; of size 1 if tensor_parallel <= key_heads.
  Communicator& key_replicas() const { return *key_replicas_; }

  // Calls, bytes and seconds of this rank since the mesh was made, by group: world, tensor, sequence, batch, gradient,
  // key_replicas.
  std::vector<std::pair<std::string, CommunicationCounters>> counters() const;
  static constexpr size_t kAxes = 6, kSequenceAxis = 2;  // number of groups; index of "sequence" in counters()
  // places(): the rank of world rank `rank` within each of its groups. sizes(): the size of each group. Both are in the
  // order of counters().
  static std::array<int, kAxes> places(const MeshShape& shape, int rank, int key_heads);
  static std::array<int, kAxes> sizes(const MeshShape& shape, int key_heads);
  void set_trace(Trace* trace);  // for all groups; see LoggedCommunicator

 private:
  // The number of consecutive tensor ranks that hold the same KV head.
  static int replicas(const MeshShape& shape, int key_heads) {
    return shape.tensor_parallel > key_heads ? shape.tensor_parallel / key_heads : 1;
  }

  using Color = std::function<int(int rank)>;
  // Makes the group of all ranks that have the same color as this rank. If `color` is null: the group of all ranks.
  // axis: an index as in counters().
  using MakeGroup = std::function<std::unique_ptr<LoggedCommunicator>(size_t axis, const Color& color)>;
  Mesh(MeshShape shape, int rank, int key_heads, const MakeGroup& group);

  MeshShape shape_;
  int data_rank_, context_rank_, tensor_rank_;
  std::unique_ptr<LoggedCommunicator> world_, tensor_, sequence_, batch_, gradient_, key_replicas_;
};

}  // namespace ropewalk
