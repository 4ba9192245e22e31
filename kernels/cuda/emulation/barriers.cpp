// PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier" ("Phase of the mbarrier object",
// "Tracking asynchronous operations by the mbarrier object", "mbarrier.test_wait / mbarrier.try_wait") and
// "barrier{.cta}".
#include "kernels/cuda/emulation/asynchronous.h"

namespace ropewalk::simt {
namespace {

constexpr int64_t kMost = (1 << 20) - 1;  // arrivals and bytes: "Contents of the mbarrier object"

}  // namespace

// Encodes the state, so that uses of memory without a barrier, and stores over a barrier, are detected.
uint64_t Mbarriers::Mbarrier::word() const {
  return phase % 2 << 63 | static_cast<uint64_t>(bytes + kMost) << 40 | static_cast<uint64_t>(pending) << 20 |
         static_cast<uint64_t>(expected);
}

void Mbarriers::init(uint64_t* word, int arrivals) {
  if (arrivals < 1 || arrivals > kMost) block_.fail(fmt::format("a barrier of {} arrivals", arrivals));
  block_.asynchronous().view.check(word, sizeof(*word), sizeof(*word));
  const auto [at, is_new] = barriers_.try_emplace(word, Mbarrier{arrivals, arrivals});
  if (!is_new) block_.fail("a barrier is initialised again");
  *word = at->second.word();
}

// "membar / fence": fence.mbarrier_init orders initializations before accesses by the async proxy.
void Mbarriers::publish() {
  for (auto& [word, barrier] : barriers_) barrier.published = true;
}
void Mbarriers::check_published(uint64_t* word) {
  if (!find(word).published) block_.fail("copies are to arrive at a barrier that was not published");
}

Mbarriers::Mbarrier& Mbarriers::find(uint64_t* word) {
  const auto at = barriers_.find(word);
  if (at == barriers_.end()) block_.fail("there is no barrier where one is used");
  if (*word != at->second.word()) block_.fail("a barrier was overwritten");
  return at->second;
}

// A phase is complete when no arrivals and no bytes are pending; then the next phase begins.
void Mbarriers::update(uint64_t* word, Mbarrier& barrier) {
  if (barrier.pending == 0 && barrier.bytes == 0) {
    ++barrier.phase;
    barrier.pending = barrier.expected;
  }
  *word = barrier.word();
}

void Mbarriers::arrive(uint64_t* word, uint32_t bytes) {
  Mbarrier& barrier = find(word);
  if (barrier.pending == 0) block_.fail(fmt::format("more than {} arrive at a barrier", barrier.expected));
  barrier.bytes += bytes;
  if (barrier.bytes > kMost) block_.fail("more bytes are announced to a barrier than it can count");
  --barrier.pending;
  update(word, barrier);
}

void Mbarriers::complete(uint64_t* word, uint32_t bytes) {
  Mbarrier& barrier = find(word);
  barrier.bytes -= bytes;
  if (barrier.bytes < -kMost) block_.fail("more bytes arrive at a barrier than it can count");
  update(word, barrier);
}

// test_wait.parity can only distinguish the current phase from the one before it.
void Mbarriers::wait(uint64_t* word, uint32_t parity) {
  if (parity > 1) block_.fail(fmt::format("waits for a phase of parity {}", parity));
  const Mbarrier& barrier = find(word);
  block_.wait_until([&barrier, parity] { return barrier.phase % 2 != parity; });
}

void Mbarriers::end() {
  for (auto& [word, barrier] : barriers_)
    if (find(word).bytes != 0)
      block_.fail(fmt::format("{} bytes that were announced to a barrier have not come", barrier.bytes));
}

void NamedBarriers::sync(int id, int threads) {
  if (id < 1 || id > 15) block_.fail(fmt::format("there is no named barrier {}", id));
  if (threads < 1 || threads % static_cast<int>(kWarp) != 0 || threads > static_cast<int>(block_.threads()))
    block_.fail(fmt::format("a named barrier of {} threads", threads));
  Named& named = named_[static_cast<size_t>(id)];
  if (named.arrived == 0) named.threads = threads;
  if (named.threads != threads)
    block_.fail(fmt::format("named barrier {} is of {} threads and of {}", id, named.threads, threads));
  const uint64_t completed = named.completed;
  if (++named.arrived == named.threads) {
    named.arrived = 0;
    ++named.completed;
  }
  block_.wait_until([&named, completed] { return named.completed != completed; });
}

}  // namespace ropewalk::simt
