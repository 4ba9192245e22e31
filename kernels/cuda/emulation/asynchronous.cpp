#include "kernels/cuda/emulation/asynchronous.h"

namespace ropewalk::simt {

bool Steps::do_one(bool all_wait) {
  auto& steps = soon_.empty() && all_wait ? at_last_ : soon_;
  if (steps.empty()) return false;
  std::swap(steps[draw()() % steps.size()], steps.back());
  const std::function<void()> step = std::move(steps.back());
  steps.pop_back();
  step();
  return true;
}

Asynchronous::Asynchronous(Block& b)
    : block(b),
      view(b),
      barriers(b),
      named_barriers(b),
      copies(b, view, steps, barriers),
      bulk_sums(b, view, steps),
      registers(b),
      warpgroups(b.threads() / kWarpgroup, Warpgroup(b, view, steps)) {}

Warpgroup& Asynchronous::warpgroup() {
  const size_t index = block.thread() / kWarpgroup;
  if (index >= warpgroups.size()) block.fail("is not of a whole warpgroup");
  return warpgroups[index];
}

void Asynchronous::check_end_of_thread() {
  bulk_sums.check_end_of_thread();
  const size_t index = block.thread() / kWarpgroup;
  if (index < warpgroups.size()) warpgroups[index].check_end_of_thread();
}

void Asynchronous::end() {
  copies.end();
  while (steps.do_one(true)) continue;
  barriers.end();
}

namespace {

Asynchronous& here() { return running->asynchronous(); }

}  // namespace

void init_barrier(uint64_t* barrier, int arrivals) { here().barriers.init(barrier, arrivals); }
void publish_barriers() { here().barriers.publish(); }
void arrive(uint64_t* barrier) { here().barriers.arrive(barrier, 0); }
void arrive_expecting(uint64_t* barrier, uint32_t bytes) { here().barriers.arrive(barrier, bytes); }
void wait_barrier(uint64_t* barrier, uint32_t parity) { here().barriers.wait(barrier, parity); }
void sync_threads_of(int id, int threads) { here().named_barriers.sync(id, threads); }

void copy_tile_async(void* shared, const TensorMap& map, uint64_t* barrier, const int* at, int dimensions) {
  here().copies.ask(shared, map, barrier, at, dimensions);
}
void add_tile_async(const TensorMap& map, const float* shared, const int* at, int dimensions) {
  here().bulk_sums.ask(map, shared, at, dimensions);
}
void commit_bulk() { here().bulk_sums.commit(); }
void wait_bulk_read(int newest_groups) { here().bulk_sums.wait(newest_groups, true); }
void wait_bulk(int newest_groups) { here().bulk_sums.wait(newest_groups, false); }

uint32_t shared_address(const void* shared) { return here().view.address(shared); }
void fence_shared_writes() { here().view.publish(); }
void change_registers(int registers, bool raise) { here().registers.change(registers, raise); }

void wait_for_value(const int* value, int expected) {
  running->wait_until([value, expected] { return *value == expected; });
}

void fence_operands() { here().warpgroup().fence(); }
void commit_products() { here().warpgroup().commit(); }
void wait_products(int newest_groups) { here().warpgroup().wait(newest_groups); }
void multiply_async(float* sums, int columns, uint64_t a, bool a_transposed, uint64_t b, bool b_transposed, bool add) {
  here().warpgroup().multiply({sums, static_cast<unsigned>(columns), nullptr, a, a_transposed, b, b_transposed, add});
}
void multiply_async(float* sums, int columns, const uint32_t (&a)[4], uint64_t b, bool b_transposed, bool add) {
  here().warpgroup().multiply({sums, static_cast<unsigned>(columns), a, 0, false, b, b_transposed, add});
}

}  // namespace ropewalk::simt
