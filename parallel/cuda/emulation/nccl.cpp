#include "parallel/cuda/emulation/nccl.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/error.h"
#include "parallel/communicator/thread_communicator.h"

namespace ropewalk::cuda_emulated {

struct EmulatedNccl {
  int rank, size;
  std::string name;  // from which the names of its subgroups are made
  std::shared_ptr<ThreadWorld> world;
  std::shared_ptr<Communicator> messages;  // used only by the device's thread
  int splits = 0;
  int busy = 0;                      // how many more times it reports ncclInProgress
  std::function<void()> afterwards;  // called when it becomes idle
  std::atomic<bool> aborted = false, broken = false;
};

namespace {

constexpr auto kForEver = std::chrono::hours(1);
const std::string kAborted = "a rank has aborted";

size_t bytes_of(ncclDataType_t type, size_t count) {
  switch (type) {
    case ncclUint8:
      return count;
    case ncclBfloat16:
      return 2 * count;
    case ncclFloat64:
      return 8 * count;
    default:
      return 4 * count;
  }
}

template <typename T>
void add_as(std::byte* sum, const std::byte* x, size_t count) {
  auto* const to = reinterpret_cast<T*>(sum);
  const auto* const from = reinterpret_cast<const T*>(x);
  for (size_t i = 0; i < count; ++i) to[i] = static_cast<T>(to[i] + from[i]);
}

template <>
void add_as<BFloat16>(std::byte* sum, const std::byte* x, size_t count) {
  auto* const to = reinterpret_cast<BFloat16*>(sum);
  const auto* const from = reinterpret_cast<const BFloat16*>(x);
  for (size_t i = 0; i < count; ++i) to[i] = BFloat16(static_cast<float>(to[i]) + static_cast<float>(from[i]));
}

void add(ncclDataType_t type, std::byte* sum, const std::byte* x, size_t count) {
  switch (type) {
    case ncclFloat32:
      return add_as<float>(sum, x, count);
    case ncclFloat64:
      return add_as<double>(sum, x, count);
    case ncclBfloat16:
      return add_as<BFloat16>(sum, x, count);
    default:
      return add_as<uint32_t>(sum, x, count);  // sums of integers wrap
  }
}

// What the end of a group of calls enqueues on a stream: messages, and what is done when they have arrived.
struct Job {
  EmulatedNccl* comm = nullptr;
  Stream stream = nullptr;
  std::vector<Message> sends, receives;
  std::vector<std::function<void()>> afterwards;
  std::vector<std::unique_ptr<std::byte[]>> rooms;
  std::unique_ptr<Transfer> exchange;
  bool hung = false;

  std::byte* room(size_t bytes) {
    return rooms.emplace_back(std::make_unique<std::byte[]>(std::max<size_t>(bytes, 1))).get();
  }
  static Message message(int peer, const void* data, size_t bytes) {
    return {peer, Tensor(const_cast<void*>(data), DType::kU8, Device{}, {static_cast<int64_t>(bytes)})};
  }

  // True when complete; false while it waits for peers.
  bool advance() {
    if (comm->aborted) return true;
    if (comm->broken || hung) return false;
    try {
      if (!exchange) exchange = comm->messages->start_exchange(sends, receives);
      if (!exchange->progress()) return false;
    } catch (const CommunicationError& error) {
      // The device waits until the group is aborted. NCCL reports a peer that has left, but not one that makes a
      // different call.
      if (error.what() == kAborted) comm->broken = true;
      hung = true;
      return false;
    }
    for (const auto& action : afterwards) action();
    return true;
  }
};

thread_local int depth = 0;                       // of nested groups of calls
thread_local ncclResult_t failure = ncclSuccess;  // of the next group of calls
thread_local const char* last_error = "";
thread_local std::shared_ptr<Job> group;

Job& job(EmulatedNccl* comm, Stream stream) {
  CHECK(depth > 0, "a call outside of a group");
  if (!group) {
    group = std::make_shared<Job>();
    group->comm = comm;
    group->stream = stream;
  }
  CHECK(group->comm == comm && group->stream == stream, "a group of calls in two groups of ranks");
  return *group;
}

// Makes a call continue after it returns, at random.
ncclResult_t sometimes_busy(EmulatedNccl* comm) {
  thread_local std::minstd_rand draw;
  comm->busy = draw() % 2 ? static_cast<int>(draw() % 3) : 0;
  return comm->busy > 0 ? ncclInProgress : ncclSuccess;
}

// Groups that are being made. Each rank waits in join() for all others.
struct Forming {
  std::map<int, std::pair<int, int>> colors;  // by rank: color and key
  std::map<int, std::shared_ptr<ThreadWorld>> worlds;
  int left = 0;
};
std::mutex table_mutex;
std::condition_variable table_changed;
std::map<std::string, Forming> table;

EmulatedNccl* join(const std::string& name, int ranks, int rank, int color, int key) {
  std::unique_lock lock(table_mutex);
  Forming& forming = table[name];
  forming.colors[rank] = {color, key};
  table_changed.notify_all();
  table_changed.wait(lock, [&] { return static_cast<int>(forming.colors.size()) == ranks; });
  EmulatedNccl* comm = nullptr;
  if (color >= 0) {
    std::vector<std::pair<int, int>> members;  // (key, rank)
    for (const auto& [other, mark] : forming.colors)
      if (mark.first == color) members.push_back({mark.second, other});
    std::ranges::sort(members);
    auto& world = forming.worlds[color];
    if (!world) world = std::make_shared<ThreadWorld>(static_cast<int>(members.size()), kForEver);
    comm = new EmulatedNccl;
    comm->rank = static_cast<int>(std::ranges::find(members, std::pair{key, rank}) - members.begin());
    comm->size = static_cast<int>(members.size());
    comm->name = name + "/" + std::to_string(color);
    comm->world = world;
    comm->messages = world->communicator(comm->rank);
  }
  if (++forming.left == ranks) table.erase(name);
  return comm;
}

// A sum of all ranks' x, which begins at the rank after the receiver and goes around.
void send_for_sum(Job& job, const std::byte* x, size_t bytes, int to) {
  if (to != job.comm->rank) job.sends.push_back(Job::message(to, x, bytes));
}
void receive_sum(Job& job, const std::byte* x, std::byte* sum, size_t count, ncclDataType_t type) {
  const size_t bytes = bytes_of(type, count);
  std::vector<const std::byte*> inputs;
  for (int step = 1; step <= job.comm->size; ++step) {
    const int peer = (job.comm->rank + step) % job.comm->size;
    if (peer == job.comm->rank) {
      inputs.push_back(x);
      continue;
    }
    std::byte* const room = job.room(bytes);
    job.receives.push_back(Job::message(peer, room, bytes));
    inputs.push_back(room);
  }
  std::byte* const total = job.room(bytes);
  job.afterwards.push_back([=] {
    std::memcpy(total, inputs.front(), bytes);
    for (size_t i = 1; i < inputs.size(); ++i) add(type, total, inputs[i], count);
    std::memcpy(sum, total, bytes);
  });
}

const std::byte* bytes_at(const void* x) { return static_cast<const std::byte*>(x); }
std::byte* bytes_at(void* x) { return static_cast<std::byte*>(x); }

}  // namespace

void fail_next_group(ncclResult_t result, const char* words) {
  failure = result;
  last_error = words;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<int> worlds = 0;
  const std::string name = "world " + std::to_string(++worlds);
  std::memcpy(id->internal, name.c_str(), name.size() + 1);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  CHECK(config->blocking == 0, "a group whose calls block");
  *comm = join(id.internal, ranks, rank, 0, rank);
  return sometimes_busy(*comm);
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* part, ncclConfig_t*) {
  ncclComm_t made = join(comm->name + " split " + std::to_string(++comm->splits), comm->size, comm->rank, color, key);
  if (made) sometimes_busy(made);
  sometimes_busy(comm);
  comm->busy += 1;
  comm->afterwards = [=] { *part = made; };
  return ncclSuccess;  // as NCCL does, although the call continues
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) { return sometimes_busy(comm); }

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
}

// The group is kept, because work in streams may still refer to it.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->aborted = true;
  comm->world->fail(kAborted);
  static std::vector<std::unique_ptr<EmulatedNccl>> graveyard;
  const std::lock_guard lock(table_mutex);
  graveyard.emplace_back(comm);
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  *state = comm->broken ? ncclRemoteError : comm->busy > 0 ? ncclInProgress : ncclSuccess;
  if (comm->busy > 0 && --comm->busy == 0 && comm->afterwards) std::exchange(comm->afterwards, nullptr)();
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError ? "remote process exited" : "an error";
}
const char* ncclGetLastError(ncclComm_t) { return last_error; }

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (--depth > 0 || !group) return ncclSuccess;
  const std::shared_ptr<Job> whole = std::exchange(group, nullptr);
  if (failure != ncclSuccess) return std::exchange(failure, ncclSuccess);
  whole->stream->enqueue([whole] { return whole->advance(); });
  return sometimes_busy(whole->comm);
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, Stream stream) {
  job(comm, stream).sends.push_back(Job::message(peer, from, bytes_of(type, count)));
  return ncclSuccess;
}

ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, Stream stream) {
  job(comm, stream).receives.push_back(Job::message(peer, to, bytes_of(type, count)));
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t, ncclComm_t comm,
                           Stream stream) {
  // Sums from the last rank to the first, so that all ranks get the same bits.
  Job& here = job(comm, stream);
  const size_t bytes = bytes_of(type, count);
  std::vector<std::byte*> rooms;
  for (int peer = 0; peer < comm->size; ++peer) {
    rooms.push_back(here.room(bytes));
    here.receives.push_back(Job::message(peer, rooms.back(), bytes));
    here.sends.push_back(Job::message(peer, from, bytes));
  }
  here.afterwards.push_back([=] {
    std::byte* const total = rooms.back();
    for (size_t i = rooms.size() - 1; i > 0; --i) add(type, total, rooms[i - 1], count);
    std::memcpy(to, total, bytes);
  });
  return ncclSuccess;
}

ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count_each, ncclDataType_t type, ncclRedOp_t,
                               ncclComm_t comm, Stream stream) {
  Job& here = job(comm, stream);
  const size_t bytes = bytes_of(type, count_each);
  const auto part = [&](int rank) { return bytes_at(from) + static_cast<size_t>(rank) * bytes; };
  for (int peer = 0; peer < comm->size; ++peer) send_for_sum(here, part(peer), bytes, peer);
  receive_sum(here, part(comm->rank), bytes_at(to), count_each, type);
  return ncclSuccess;
}

ncclResult_t ncclReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t, int root,
                        ncclComm_t comm, Stream stream) {
  Job& here = job(comm, stream);
  send_for_sum(here, bytes_at(from), bytes_of(type, count), root);
  if (comm->rank == root) receive_sum(here, bytes_at(from), bytes_at(to), count, type);
  return ncclSuccess;
}

ncclResult_t ncclAllGather(const void* from, void* to, size_t count_each, ncclDataType_t type, ncclComm_t comm,
                           Stream stream) {
  const size_t bytes = bytes_of(type, count_each);
  for (int peer = 0; peer < comm->size; ++peer)
    ncclBroadcast(from, bytes_at(to) + static_cast<size_t>(peer) * bytes, count_each, type, peer, comm, stream);
  return ncclSuccess;
}

ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           Stream stream) {
  Job& here = job(comm, stream);
  const size_t bytes = bytes_of(type, count);
  if (comm->rank != root) {
    here.receives.push_back(Job::message(root, to, bytes));
    return ncclSuccess;
  }
  for (int peer = 0; peer < comm->size; ++peer)
    if (peer != root) here.sends.push_back(Job::message(peer, from, bytes));
  here.afterwards.push_back([=] {
    if (from != to) std::memcpy(to, from, bytes);
  });
  return ncclSuccess;
}

}  // namespace ropewalk::cuda_emulated
