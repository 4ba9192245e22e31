// Which ranks of the job respond, and with which text: at the start, and after a failure. Unlike a collective it does
// not need all ranks: after a time limit it returns the texts that have arrived.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ropewalk {

class MpiRollCall {
 public:
  MpiRollCall();  // construct one per process, on every rank, while an MpiSession lives
  ~MpiRollCall();

  bool is_called() const;  // whether another rank has begun a call() that this rank has not begun yet

  // Sends `mine` to all ranks. The n-th call of a rank belongs with the n-th call of every other. Returns the texts by
  // rank, nullopt for ranks that have not responded. Returns once all ranks have made the call, at the latest after
  // `patience`.
  std::vector<std::optional<std::string>> call(const std::string& mine, std::chrono::milliseconds patience);
  double seconds() const;  // duration of the last call, by WatchedTime

 private:
  struct Round;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ropewalk
