#include "parallel/communicator/mpi_roll_call.h"

#define OMPI_SKIP_MPICXX 1  // the C++ bindings that MPI has dropped
#include <mpi.h>

#include <algorithm>
#include <list>
#include <thread>

#include "parallel/communicator/watched_time.h"

namespace ropewalk {

namespace {
// The number of a round is the tag of its messages; nothing else sends messages in MPI_COMM_WORLD.
constexpr int kFirstRound = 1;
}  // namespace

// One call; kept to the end, because messages to unresponsive ranks stay outstanding.
struct MpiRollCall::Round {
  std::string mine;
  std::vector<std::string> texts;
  std::vector<MPI_Request> requests;  // sends by rank, then receives by rank
  std::vector<bool> heard;
  size_t open_sends = 0;
};

struct MpiRollCall::State {
  const MPI_Comm comm = MPI_COMM_WORLD;
  int rank = 0, size = 0;
  double seconds = 0;  // of the last call
  std::list<Round> rounds;

  void send(Round& round, int tag);
  void receive(Round& round, int tag);  // starts to receive the messages that have arrived
  bool finish(Round& round);            // true if a message has completed
};

void MpiRollCall::State::send(Round& round, int tag) {
  for (int peer = 0; peer < size; ++peer) {
    if (peer == rank) continue;
    const int code = MPI_Isend(round.mine.data(), static_cast<int>(round.mine.size()), MPI_BYTE, peer, tag, comm,
                               &round.requests[static_cast<size_t>(peer)]);
    if (code == MPI_SUCCESS) ++round.open_sends;
  }
}

void MpiRollCall::State::receive(Round& round, int tag) {
  int found = 0;
  MPI_Message message;
  MPI_Status status;
  while (MPI_Improbe(MPI_ANY_SOURCE, tag, comm, &found, &message, &status) == MPI_SUCCESS && found) {
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    const auto peer = static_cast<size_t>(status.MPI_SOURCE);
    round.texts[peer].resize(static_cast<size_t>(bytes));
    MPI_Imrecv(round.texts[peer].data(), bytes, MPI_BYTE, &message, &round.requests[static_cast<size_t>(size) + peer]);
  }
}

bool MpiRollCall::State::finish(Round& round) {
  std::vector<int> finished(round.requests.size());
  std::vector<MPI_Status> statuses(round.requests.size());
  int count = 0;
  const int code =
      MPI_Testsome(static_cast<int>(finished.size()), round.requests.data(), &count, finished.data(), statuses.data());
  if (count == MPI_UNDEFINED || (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS)) return false;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const auto index = static_cast<size_t>(finished[i]), ranks = static_cast<size_t>(size);
    if (index < ranks) --round.open_sends;
    if (index >= ranks) round.heard[index - ranks] = code == MPI_SUCCESS || statuses[i].MPI_ERROR == MPI_SUCCESS;
  }
  return count > 0;
}

MpiRollCall::MpiRollCall() : state_(std::make_unique<State>()) {
  MPI_Comm_rank(state_->comm, &state_->rank);
  MPI_Comm_size(state_->comm, &state_->size);
}

MpiRollCall::~MpiRollCall() = default;

bool MpiRollCall::is_called() const {
  int found = 0;
  const int next = kFirstRound + static_cast<int>(state_->rounds.size());
  const int code = MPI_Iprobe(MPI_ANY_SOURCE, next, state_->comm, &found, MPI_STATUS_IGNORE);
  return code == MPI_SUCCESS && found;
}

double MpiRollCall::seconds() const { return state_->seconds; }

std::vector<std::optional<std::string>> MpiRollCall::call(const std::string& mine, std::chrono::milliseconds patience) {
  WatchedTime waited(patience);
  const auto ranks = static_cast<size_t>(state_->size), own = static_cast<size_t>(state_->rank);
  Round& round =
      state_->rounds.emplace_back(mine, std::vector<std::string>(ranks),
                                  std::vector<MPI_Request>(2 * ranks, MPI_REQUEST_NULL), std::vector<bool>(ranks));
  round.texts[own] = mine;
  round.heard[own] = true;
  const int tag = kFirstRound - 1 + static_cast<int>(state_->rounds.size());
  state_->send(round, tag);
  const auto all_done = [&] { return round.open_sends == 0 && std::ranges::count(round.heard, false) == 0; };
  for (; !all_done() && !waited.is_over(); waited.look()) {
    state_->receive(round, tag);
    if (!state_->finish(round)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  state_->seconds = waited.seconds();

  std::vector<std::optional<std::string>> out(ranks);
  for (size_t rank = 0; rank < ranks; ++rank)
    if (round.heard[rank]) out[rank] = round.texts[rank];
  return out;
}

}  // namespace ropewalk
