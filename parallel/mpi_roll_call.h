// Which ranks of the job still answer, and what they have to say, when something has gone wrong. Unlike a collective it
// needs nobody: it gives what was heard when the time is up.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ropewalk {

class MpiRollCall {
 public:
  MpiRollCall();  // collective, while an MpiSession lives
  ~MpiRollCall();

  bool has_begun() const;  // for another rank

  // Tells all ranks `mine`. Returns at once when all have made the same call (the first, the second, ...), or after
  // `patience`: the texts of those that have, by rank.
  std::vector<std::optional<std::string>> call(const std::string& mine, std::chrono::milliseconds patience);

 private:
  struct Round;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ropewalk
