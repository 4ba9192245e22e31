// A rank as a process: MPI from its start to its end, and how a failure is told: by whom, once, with which exit code.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "launch/launcher.h"
#include "parallel/communicator.h"
#include "parallel/mpi_communicator.h"

namespace ropewalk {

struct Failure {
  ExitCode code;
  std::string message;
};
Failure failure_of(std::exception_ptr exception);

// "ropewalk: MESSAGE" on stderr, in one piece.
void say(const std::string& message);

class Process {
 public:
  // Joins the MPI job if a launcher started this process; otherwise it is a world of its own, without MPI.
  explicit Process(const Launcher& launcher);

  int rank() const { return last_words_->rank(); }
  int size() const { return last_words_->size(); }
  int node_rank() const { return session_ ? session_->node_rank() : 0; }
  const std::string& host() const { return host_; }
  std::string transport() const;  // "Open MPI v4.1.4"

  // All ranks of the job. Collective. Waits longer than the deadline fail.
  std::shared_ptr<Communicator> world(std::chrono::milliseconds deadline) const;

  // The job's exit code. A failure that all ranks come to (a wrong configuration, a missing file) is told once, by rank
  // 0. A failure of this rank alone is told here, and ends the other ranks, which would wait for this one.
  ExitCode run(const std::function<ExitCode()>& job) const;

 private:
  ExitCode settle(const Failure& failure) const;
  // If all ranks fail: rank 0 tells what they have to say, and the job's code is the same everywhere. Else nothing.
  std::optional<ExitCode> tell_together(const Failure& mine) const;
  [[noreturn]] void end_all(ExitCode code) const;

  std::optional<MpiSession> session_;
  std::string host_;
  std::shared_ptr<Communicator> last_words_;  // used for nothing else, so it is in order when others are not
};

// Process(launcher).run(job); a failure to join the job is told too.
ExitCode run_process(const Launcher& launcher, const std::function<ExitCode(Process&)>& job);

// Rank 0's text, on every rank. Where make_text throws a ConfigurationError, every rank throws it. Collective.
std::string text_of_rank_0(Communicator& world, const std::function<std::string()>& make_text);

}  // namespace ropewalk
