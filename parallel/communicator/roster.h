// The names of the members of a group, for error messages: the world rank of each and, if known, its host.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace ropewalk {

class Roster {
 public:
  // The world. hosts: every rank's, or none.
  explicit Roster(int size, std::vector<std::string> hosts = {});
  Roster of(const std::vector<int>& members) const;  // a group of these ranks, in this order

  int size() const { return static_cast<int>(world_ranks_.size()); }
  int world_rank(int rank) const { return world_ranks_.at(static_cast<size_t>(rank)); }
  std::string name(int rank) const;                        // "rank 3 on node7"
  std::string names(const std::vector<int>& ranks) const;  // "ranks 3, 5-7 on node7 and rank 8 on node8"

 private:
  Roster(std::vector<int> world_ranks, std::shared_ptr<const std::vector<std::string>> hosts);
  std::string on_host(int world_rank) const;

  std::vector<int> world_ranks_;
  std::shared_ptr<const std::vector<std::string>> hosts_;
};

}  // namespace ropewalk
