// Ranks as MPI processes. Only messages between pairs of ranks are asked of MPI: the collectives are
// HostCommunicator's, so their bits do not depend on the MPI library, its version or its tuning.
//
// MPI moves large messages only while the process calls it: progress() and wait() poll, and while one exchange is
// polled all move.
//
// Every message carries the sequence number, the operation and the element type of its call in its tag. A wait polls,
// gives the core away between polls, and compares what has come with what is waited for; so ranks that disagree are
// named at once and a silent peer when the deadline has passed. A process that dies is noticed by mpirun, which ends
// the others.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator/call_watch.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// MPI from here to the end of this object. All calls are to come from the thread that made it. When the object is
// destroyed by an exception MPI is not finalized, which would wait for the other ranks: report the error and end the
// process with a code that is not 0, or abort().
class MpiSession {
 public:
  // Waits inside MPI (MPI_Init, MPI_Finalize, what it does for all ranks at once) that outlast the deadline are shown
  // to the handler, if there is one.
  explicit MpiSession(std::chrono::milliseconds deadline = {}, OverdueHandler on_overdue = {});
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  void set_deadline(std::chrono::milliseconds deadline) { deadline_ = deadline; }

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::string& host() const { return host_; }        // of this rank
  const std::string& library() const { return library_; }  // name and version
  int node_rank() const;                                   // among the ranks on this machine; collective

  // The process's end, where messages may be open that MPI would wait for: after `patience` it waits no more. Their
  // memory must be whole. leave(): all ranks do this. abort(): ends all ranks.
  [[noreturn]] void leave(int code, std::chrono::milliseconds patience) const;
  [[noreturn]] void abort(int code, std::chrono::milliseconds patience = std::chrono::seconds(5)) const;

 private:
  int exceptions_, rank_, size_;
  std::chrono::milliseconds deadline_;
  OverdueHandler on_overdue_;
  std::string host_, library_;
};

// What a world and its groups share. Exchanges that wait longer than the deadline fail.
struct WorldOptions {
  std::chrono::milliseconds deadline;
  std::vector<std::string> hosts = {};  // every rank's, or none; for messages
  std::function<bool()> give_up = {};   // asked while an exchange waits; true: it fails, as if its time were over
  // Shown a failure that a rank finds while it waits for its device, as LoggedCommunicator shows those of its own
  // calls.
  std::function<void(const PeerError&)> on_failure = {};
  OverdueHandler on_overdue = {};  // shown MPI's own waits that last longer than the deadline
};

// All ranks of the job, while an MpiSession lives. Collective.
std::shared_ptr<Communicator> make_mpi_world(const WorldOptions& options);

}  // namespace ropewalk
