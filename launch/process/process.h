// A rank as a process: MPI from its start to its end, and how it ends when something fails.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/process/launcher.h"
#include "launch/process/report.h"
#include "parallel/communicator/logged_communicator.h"
#include "parallel/communicator/mpi_communicator.h"
#include "parallel/communicator/mpi_roll_call.h"

namespace ropewalk {

// "ropewalk: MESSAGE" on stderr, in one piece.
void say(const std::string& message);

class Process {
 public:
  // Joins the MPI job if this process is of one; otherwise it is a world of its own, without MPI. Ranks that do not
  // come before the deadline end the job.
  Process(const Launcher& launcher, std::chrono::milliseconds start_deadline);

  int rank() const { return session_ ? session_->rank() : 0; }
  int size() const { return static_cast<int>(hosts_.size()); }
  int node_rank() const { return node_rank_; }  // among the ranks on this host
  const std::string& host() const { return hosts_[static_cast<size_t>(rank())]; }
  std::string transport() const;  // "Open MPI v4.1.4"

  // Waits longer than the deadline fail, and all waits when another rank has failed.
  WorldOptions options(std::chrono::milliseconds deadline);
  // All ranks of the job, with these options. Collective.
  std::shared_ptr<Communicator> world(std::chrono::milliseconds deadline);

  // For the job's groups. Tells of a failed wait where it happens and ends the job there: MPI may still use the memory
  // of messages that are open, and so nothing that they refer to may go.
  FailureHandler failure_handler();

  // The job's exit code. A failure that all ranks come to (a wrong configuration, a missing file) is told once. A
  // failure of this rank alone is told here, and ends the other ranks, which would wait for this one.
  ExitCode run(const std::function<ExitCode()>& job);

 private:
  void meet(std::chrono::milliseconds deadline);  // fills hosts_
  // One rank tells what all have to say, and the job ends: in order where all ranks are heard, as those that wait for
  // one that failed are. Returns where there is no MPI.
  ExitCode settle(const Failure& failure);
  Reports gather_reports(const Failure& mine);
  [[noreturn]] void end_all(ExitCode code) const;

  OverdueHandler on_overdue_;
  std::optional<MpiSession> session_;
  std::optional<MpiRollCall> roll_call_;
  std::vector<std::string> hosts_;  // every rank's
  int node_rank_ = 0;
  bool messages_open_ = false;  // whose memory may be gone: MPI is not to be used again
};

// How long ranks wait for each other, until there is a configuration that says it.
constexpr std::chrono::seconds kStartDeadline(120);

// Process(launcher, start_deadline).run(job); a failure to join the job is told too.
ExitCode run_process(const Launcher& launcher, const std::function<ExitCode(Process&)>& job,
                     std::chrono::milliseconds start_deadline = kStartDeadline);

// Rank 0's text, on every rank. Where make_text throws a ConfigurationError, every rank throws it. Collective.
std::string text_of_rank_0(Communicator& world, const std::function<std::string()>& make_text);

}  // namespace ropewalk
