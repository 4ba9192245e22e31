// Hopper's instructions on the host, with the interface of kernels/cuda/hopper. Each follows the section of NVIDIA's
// PTX ISA that its file cites (asynchronous.h says which file implements which). Asynchronous operations happen at
// random times:
//
// - Tiles arrive in pieces, at the latest when all threads wait. The memory that they are copied to is poisoned at
//   once.
// - Products read their operands when they are issued or later, at the latest when all threads wait. This includes left
//   operands in registers: the C++ variables that hold them must stay alive and unchanged until the product is waited
//   for. Accumulators are poisoned until then.
// - Products and bulk additions read shared memory as it was when some thread last fenced its stores.
// - Bulk additions read shared memory at one time and add at another, at the latest when all threads wait.
//
// Not emulated: fences between the proxies of device memory (fence.proxy.async.global). The emulation checks that
// blocks add in their order, but not that the additions of one block are visible before those of the next.
//
// Breaking a rule fails CHECK, and so do operations that are in flight when a thread or the block ends, except bulk
// additions that have read shared memory. A wait that cannot end fails CHECK, as at __syncthreads().
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

uint32_t shared_address(const void* shared);  // as in matrix descriptors
void fence_operands();
void commit_products();
void wait_products(int newest_groups);
void fence_shared_writes();
// sums: c[columns / 8][4]; a: a descriptor or registers
void multiply_async(float* sums, int columns, uint64_t a, bool a_transposed, uint64_t b, bool b_transposed, bool add);
void multiply_async(float* sums, int columns, const uint32_t (&a)[4], uint64_t b, bool b_transposed, bool add);

void change_registers(int registers, bool raise);  // per thread

// Waits until *value is `expected`, which another block sets.
void wait_for_value(const int* value, int expected);

}  // namespace ropewalk::simt
