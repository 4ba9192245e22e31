// Ranks as MPI processes. MPI carries only point-to-point messages: the collectives are HostCommunicator's, so their
// bits do not depend on the MPI library, its version or its tuning.
//
// MPI moves large messages only while the process calls it: progress() and wait() poll, and polling one exchange
// advances all of them.
//
// The tag of every message encodes the element type and operation of its call, the low bits of the call's sequence
// number, and, if the tag has room, a hash of the message's size and of its place among the messages that its transfer
// moves between the same two ranks. A wait polls. Between polls it first yields the core; after a while without
// progress it sleeps, at most 0.2 ms at a time. It compares the messages that arrive with the messages that it expects:
// ranks that make different calls are reported at once, unresponsive peers once the deadline has passed. mpirun notices
// a process that dies, and ends the others.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator/call_watch.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// Initializes MPI, and finalizes it in the destructor; all calls must come from the thread that constructed it. If
// stack unwinding destroys it, the destructor does not call MPI_Finalize, which would wait for the other ranks. The
// caller must then report the error and exit with a code other than 0. Instead of unwinding, a caller may call abort().
class MpiSession {
 public:
  // The handler, if any, is called when MPI_Init_thread, MPI_Finalize or a call that makes a communicator exceeds the
  // deadline. These calls block until other ranks make them too.
  explicit MpiSession(std::chrono::milliseconds deadline = {}, OverdueHandler on_overdue = {});
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  void set_deadline(std::chrono::milliseconds deadline) { deadline_ = deadline; }

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::string& host() const { return host_; }        // of this rank
  const std::string& library() const { return library_; }  // name and version
  int node_rank() const;                                   // local rank: index among the ranks of its host; collective

  // Both end the process. Messages may be outstanding, but their buffers must still be allocated, because MPI may use
  // them. leave() is called by all ranks and calls MPI_Finalize; abort() calls MPI_Abort, which ends all ranks. If MPI
  // takes longer than `patience`, the process ends without it.
  [[noreturn]] void leave(int code, std::chrono::milliseconds patience) const;
  [[noreturn]] void abort(int code, std::chrono::milliseconds patience = std::chrono::seconds(5)) const;

 private:
  int exceptions_, rank_, size_;
  std::chrono::milliseconds deadline_;
  OverdueHandler on_overdue_;
  std::string host_, library_;
};

// Common to a world and its groups. Exchanges that wait longer than the deadline fail.
struct WorldOptions {
  std::chrono::milliseconds deadline;
  std::vector<std::string> hosts = {};  // of every rank, or empty; for error messages
  // Called while an exchange waits; true: fails as if the deadline had passed, unless messages of the exchange have
  // arrived meanwhile.
  std::function<bool()> give_up = {};
  // Called by the NCCL transport with a failure that it detects while the host waits for the device, also outside the
  // calls of a communicator. (LoggedCommunicator handles only failures of its own calls.)
  std::function<void(const PeerError&)> on_failure = {};
  OverdueHandler on_overdue = {};  // see MpiSession
};

// The communicator of all ranks of the job. Needs an MpiSession that outlives it. Collective.
std::shared_ptr<Communicator> make_mpi_world(const WorldOptions& options);

}  // namespace ropewalk
