// What is told of a job that fails: by one rank, from what all ranks report, the cause first.
#pragma once

#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "parallel/communicator/communicator.h"
#include "parallel/communicator/roster.h"

namespace ropewalk {

struct Failure {
  ExitCode code;
  std::string message;             // its first line says it; the others are details
  UnresponsivePeers unresponsive;  // peers that did not answer this rank before its deadline
};
Failure failure_of(std::exception_ptr exception);

// As bytes, and back.
std::string encode(const Failure& failure);
Failure decode(const std::string& bytes);

// By rank; nothing from ranks that were not heard.
using Reports = std::vector<std::optional<Failure>>;

// The code of the cause: a rank that lost its peer failed because of the peer.
ExitCode common_code(const Reports& reports);
// For the user. Not empty reports.
std::string tell(const Reports& reports, const Roster& ranks);

}  // namespace ropewalk
