// Which ranks of the job respond, and with what text: at the start, and when something has gone wrong. Unlike a
// collective it completes without the others: when the time is up it returns what has come.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ropewalk {

class MpiRollCall {
 public:
  MpiRollCall();  // one in a job, on every rank, while an MpiSession lives
  ~MpiRollCall();

  bool is_called() const;  // whether another rank has begun a call that this one has not

  // Tells all ranks `mine`. Returns at once when all have made the same call (the first, the second, ...), or after
  // `patience`: the texts of those that have, by rank.
  std::vector<std::optional<std::string>> call(const std::string& mine, std::chrono::milliseconds patience);
  double seconds() const;  // of the last call, as they counted for its patience

 private:
  struct Round;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ropewalk
