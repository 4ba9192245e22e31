// A rank as a process: starts and ends MPI, and ends the job when something fails.
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

// Writes "ropewalk: MESSAGE" to stderr, in one write.
void say(const std::string& message);

class Process {
 public:
  // Joins the MPI job if this process belongs to one; otherwise this process is the only rank and does not start MPI.
  // Ends the job if some ranks do not join before the deadline.
  Process(const Launcher& launcher, std::chrono::milliseconds start_deadline);

  int rank() const { return session_ ? session_->rank() : 0; }
  int size() const { return static_cast<int>(hosts_.size()); }
  int node_rank() const { return node_rank_; }  // local rank: among the ranks on this host
  const std::string& host() const { return hosts_[static_cast<size_t>(rank())]; }
  std::string transport() const;  // "Open MPI v4.1.4"

  // Options for creating a world in which a wait fails after the deadline, or as soon as another rank has failed.
  WorldOptions options(std::chrono::milliseconds deadline);
  // A communicator of all ranks of the job, with these options. Collective.
  std::shared_ptr<Communicator> world(std::chrono::milliseconds deadline);

  // For the communicators of the job. When a wait fails, it reports the failure and ends the job on the spot. It does
  // not unwind the stack, because MPI may still access the buffers of messages in flight.
  FailureHandler failure_handler();

  // Runs the job and returns its exit code. A failure on all ranks (a wrong configuration, a missing file) is reported
  // once. A failure on this rank alone is reported here and ends the other ranks, which would wait for this one. With
  // MPI, a failure ends the process here.
  ExitCode run(const std::function<ExitCode()>& job);

 private:
  void meet(std::chrono::milliseconds deadline);  // fills hosts_
  // Removes UnfinishedFiles, reports the failure and ends the job: one rank prints the reports of all. If every rank
  // has reported (ranks that wait for a failed one report too), the job ends with MPI_Finalize, else with MPI_Abort.
  // Returns only without MPI.
  ExitCode settle(const Failure& failure);
  Reports gather_reports(const Failure& mine);
  [[noreturn]] void end_all(ExitCode code) const;

  OverdueHandler on_overdue_;
  std::optional<MpiSession> session_;
  std::optional<MpiRollCall> roll_call_;
  std::vector<std::string> hosts_;  // of every rank
  int node_rank_ = 0;
  bool messages_open_ = false;  // buffers of messages in flight may already be freed: no MPI call but MPI_Abort follows
};

// How long ranks wait for each other until they have read the configuration, which sets a deadline.
constexpr std::chrono::seconds kStartDeadline(120);

// Process(launcher, start_deadline).run(job). Errors in joining the job are reported too.
ExitCode run_process(const Launcher& launcher, const std::function<ExitCode(Process&)>& job,
                     std::chrono::milliseconds start_deadline = kStartDeadline);

// Calls make_text on rank 0 and returns its text on every rank. If it throws an Error, every rank throws one with the
// same exit code and message: a ConfigurationError, or an Error of no further type. Collective.
std::string text_of_rank_0(Communicator& world, const std::function<std::string()>& make_text);

}  // namespace ropewalk
