// The error message of a failed job, made by one rank from the reports of all ranks, the cause first.
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
  std::string message;             // the first line states the problem; the others are details
  UnresponsivePeers unresponsive;  // peers that did not answer this rank before its deadline
};
Failure failure_of(std::exception_ptr exception);

// Serializes a failure, to send it between ranks.
std::string encode(const Failure& failure);
Failure decode(const std::string& bytes);

// Indexed by rank; nullopt for ranks that did not report.
using Reports = std::vector<std::optional<Failure>>;

// The exit code of the job: the code of the first rank, in rank order, whose failure is a cause. A communication
// failure is not a cause, but the consequence of a peer's failure. kCommunication if no rank reported a cause.
ExitCode common_code(const Reports& reports);
// The message for the user. At least one rank must have reported.
std::string tell(const Reports& reports, const Roster& ranks);

}  // namespace ropewalk
