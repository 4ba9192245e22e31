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

#include "parallel/communicator.h"

namespace ropewalk {

// MPI from here to the end of this object. All calls are to come from the thread that made it. When the object is
// destroyed by an exception MPI is not finalized, which would wait for the other ranks: report the error and end the
// process with a code that is not 0, or abort().
class MpiSession {
 public:
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(hosts_.size()); }
  int node_rank() const { return node_rank_; }                      // among the ranks on this machine
  const std::vector<std::string>& hosts() const { return hosts_; }  // every rank's
  const std::string& library() const { return library_; }           // name and version

  [[noreturn]] void abort(int code) const;  // ends all ranks

 private:
  int exceptions_, rank_, node_rank_;
  std::vector<std::string> hosts_;
  std::string library_;
};

// What a world and its groups share. Exchanges that wait longer than the deadline fail.
struct WorldOptions {
  std::chrono::milliseconds deadline;
  std::vector<std::string> hosts = {};  // every rank's, or none; for messages
  std::function<bool()> give_up = {};   // asked while an exchange waits; true: it fails, as if its time were over
  // Shown a failure that a rank finds while it waits for its device, as LoggedCommunicator shows those of its own
  // calls.
  std::function<void(const PeerError&)> on_failure = {};
};

// All ranks of the job, while an MpiSession lives. Collective.
std::shared_ptr<Communicator> make_mpi_world(const WorldOptions& options);

}  // namespace ropewalk
