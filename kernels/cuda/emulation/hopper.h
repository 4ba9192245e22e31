// What Hopper's instructions do, on the host: what kernels/cuda/hopper describes. Each follows the section of NVIDIA's
// PTX ISA that its file cites (asynchronous.h says which file has which). What goes on beside the threads does so at
// drawn times:
//
// - Tiles come in pieces, at the latest when all threads wait; what they are to replace is poisoned at once.
// - Products read their operands, registers of the left one included, when they are asked for or later, at the latest
//   when all threads wait; their sums are poisoned until they are waited for. So operands in registers stay as they
//   are, as C++ objects too.
// - Products and bulk sums read shared memory as it was when some thread last fenced its stores.
// - Bulk sums read shared memory at one time and add at another, at the latest where they are waited for.
//
// Not imitated: fences between device memory's proxies (fence.proxy.async.global). So that a block's sums in device
// memory are there before another block's follow is not checked, but for the order of the blocks.
//
// What breaks a rule, or is under way when a thread or the block ends, fails CHECK; waiting for what cannot come does
// as it does for other barriers.
#pragma once

#include "kernels/cuda/emulation/simt.h"

#define __grid_constant__

namespace ropewalk::simt {

void init_barrier(uint64_t* barrier, int arrivals);
void publish_barriers();
void arrive(uint64_t* barrier);
void arrive_expecting(uint64_t* barrier, uint32_t bytes);
void wait_barrier(uint64_t* barrier, uint32_t parity);
void sync_threads_of(int id, int threads);

constexpr int kMostDimensions = 5;
struct TensorMap {
  const void* base = nullptr;
  int element_bytes = 0;
  int dimensions = 0;
  int64_t extents[kMostDimensions] = {}, strides[kMostDimensions] = {};  // in elements, innermost first
  int box[kMostDimensions] = {};
};
void copy_tile_async(void* shared, const TensorMap& map, uint64_t* barrier, const int* at, int dimensions);
void add_tile_async(const TensorMap& map, const float* shared, const int* at, int dimensions);
void commit_bulk();
void wait_bulk_read(int newest_groups);
void wait_bulk(int newest_groups);

uint32_t shared_address(const void* shared);  // as matrix descriptors hold it
void fence_operands();
void commit_products();
void wait_products(int newest_groups);
void fence_shared_writes();
// sums: c[columns / 8][4]; a: a descriptor, or registers
void multiply_async(float* sums, int columns, uint64_t a, bool a_transposed, uint64_t b, bool b_transposed, bool add);
void multiply_async(float* sums, int columns, const uint32_t (&a)[4], uint64_t b, bool b_transposed, bool add);

void change_registers(int registers, bool raise);  // of a thread

// Until *value is `expected`, which another block sees to.
void wait_for_value(const int* value, int expected);

}  // namespace ropewalk::simt
