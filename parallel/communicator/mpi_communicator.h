// Ranks as MPI processes. MPI carries only messages between pairs of ranks: the collectives are HostCommunicator's, so
// their bits do not depend on the MPI library, its version or its tuning.
//
// MPI moves large messages only while the process calls it: progress() and wait() poll, and polling one exchange moves
// all of them.
//
// The tag of every message carries the sequence number, the name and the element type of its call. A wait polls, yields
// the core between polls, and compares what has come with what it expects; so ranks that disagree are named at once,
// and an unresponsive peer when the deadline has passed. mpirun notices a process that dies, and ends the others.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator/call_watch.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// MPI, from construction to destruction; all calls must come from the thread that made it. An exception that destroys
// it leaves MPI unfinalized, because MPI_Finalize would wait for the other ranks: report the error and end the process
// with a code that is not 0, or abort().
class MpiSession {
 public:
  // The handler, if there is one, is shown waits inside MPI (MPI_Init, MPI_Finalize, its own collectives) that outlast
  // the deadline.
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

  // End the process where messages may be open: MPI waits for them for at most `patience`, and their buffers must be
  // valid. leave(): called by all ranks. abort(): ends all ranks.
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
  std::vector<std::string> hosts = {};  // of every rank, or empty; for messages
  std::function<bool()> give_up = {};   // asked while an exchange waits; true: it fails as if the deadline had passed
  // Shown a failure that a rank finds while it waits for its device. (LoggedCommunicator shows those of its own calls.)
  std::function<void(const PeerError&)> on_failure = {};
  OverdueHandler on_overdue = {};  // shown waits inside MPI that outlast the deadline
};

// All ranks of the job, while an MpiSession lives. Collective.
std::shared_ptr<Communicator> make_mpi_world(const WorldOptions& options);

}  // namespace ropewalk
