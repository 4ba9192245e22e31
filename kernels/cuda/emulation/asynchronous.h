// Hopper's asynchronous engines, which work beside the threads of a block: barriers that count bytes, copies and bulk
// additions of tiles, products of warpgroups. hopper.h declares the instructions that threads issue to them.
#pragma once

#include <map>

#include "kernels/cuda/emulation/block.h"
#include "kernels/cuda/emulation/hopper.h"

namespace ropewalk::simt {

constexpr unsigned kWarpgroup = 128;

// The swizzled address of a 16-byte piece: the 128-byte swizzle XORs the piece's index in its row with the row's index
// modulo 8 ("Tensors: Swizzling Modes").
inline uint32_t swizzled(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

// proxies.cpp. Shared memory as the async proxy sees it. Stores of threads become visible to it at the next fence of
// any thread. Addresses are those of the shared window, whose first KiB is reserved by the system.
class AsyncView {
 public:
  explicit AsyncView(Block& block) : block_(block), seen_(block.shared_bytes(), kPoison) {}

  uint32_t address(const void* shared) const;
  const unsigned char* at(uint32_t address, size_t bytes) const;
  // Fails unless the range lies in shared memory and is aligned.
  void check(const void* shared, size_t bytes, size_t alignment) const;
  // Writes by the engines, visible to threads and engines.
  void write(uint32_t address, const void* from, size_t bytes);
  void poison(const void* shared, size_t bytes);
  void publish();  // makes all stores of threads visible to the engines

 private:
  size_t offset(uint32_t address, size_t bytes) const;
  Block& block_;
  std::vector<unsigned char> seen_;
};

// asynchronous.cpp. The pending work of the engines. It is done in random order and at random times, some of it only
// when all threads wait.
class Steps {
 public:
  void add(std::function<void()> step) { (one_in(2) ? soon_ : at_last_).push_back(std::move(step)); }
  bool do_one(bool all_wait);  // false: there was nothing to do

 private:
  std::vector<std::function<void()>> soon_, at_last_;
};

// barriers.cpp
class Mbarriers {
 public:
  explicit Mbarriers(Block& block) : block_(block) {}

  void init(uint64_t* word, int arrivals);
  void publish();
  void arrive(uint64_t* word, uint32_t bytes);
  void wait(uint64_t* word, uint32_t parity);
  void check_published(uint64_t* word);
  void complete(uint64_t* word, uint32_t bytes);  // called by a copy
  void end();

 private:
  struct Mbarrier {
    int64_t expected, pending;  // arrivals: per phase, and still missing in this one
    int64_t bytes = 0;          // announced and not copied yet
    uint64_t phase = 0;
    bool published = false;
    uint64_t word() const;  // the barrier's content in shared memory
  };
  Mbarrier& find(uint64_t* word);
  void update(uint64_t* word, Mbarrier& barrier);
  Block& block_;
  std::map<uint64_t*, Mbarrier> barriers_;
};

// barriers.cpp
class NamedBarriers {
 public:
  explicit NamedBarriers(Block& block) : block_(block) {}
  void sync(int id, int threads);

 private:
  struct Named {
    int threads = 0, arrived = 0;
    uint64_t completed = 0;
  };
  Block& block_;
  std::array<Named, 16> named_;
};

// bulk.cpp. Copies of tiles, which arrive piece by piece.
class TileCopies {
 public:
  TileCopies(Block& block, AsyncView& view, Steps& steps, Mbarriers& barriers)
      : block_(block), view_(view), steps_(steps), barriers_(barriers) {}
  void ask(void* shared, const TensorMap& map, uint64_t* barrier, const int* at, int dimensions);
  void end() const;

 private:
  struct Piece {
    TensorMap map;
    uint32_t to;
    uint64_t* barrier;
    std::array<int, kMostDimensions> at;
    int begin, end;  // rows of the box
  };
  void deliver(const Piece& piece);
  Block& block_;
  AsyncView& view_;
  Steps& steps_;
  Mbarriers& barriers_;
  size_t under_way_ = 0;  // pieces in flight
};

// bulk.cpp. Bulk additions to device memory, which read shared memory at one time and add at another.
class BulkSums {
 public:
  BulkSums(Block& block, AsyncView& view, Steps& steps)
      : block_(block), view_(view), steps_(steps), threads_(block.threads()) {}
  void ask(const TensorMap& map, const float* shared, const int* at, int dimensions);
  void commit();
  void wait(int newest_groups, bool read_only);
  void check_end_of_thread();

 private:
  struct Term {
    float* to;
    uint32_t from;
    float value;
  };
  struct Sum {
    std::vector<Term> terms;
    bool read = false, added = false;
  };
  using Group = std::vector<std::shared_ptr<Sum>>;
  struct Thread {
    std::deque<Group> groups;  // committed, and not waited for
    Group open;                // not yet committed
  };
  void read(const std::shared_ptr<Sum>& sum);
  void add(Sum& sum);
  Block& block_;
  AsyncView& view_;
  Steps& steps_;
  std::vector<Thread> threads_;
};

// warpgroup.cpp. Products of one warpgroup.
class Warpgroup {
 public:
  struct Call {
    float* sums;
    unsigned columns;
    const uint32_t* a_registers;  // null if a is a descriptor
    uint64_t a;
    bool a_transposed;
    uint64_t b;
    bool b_transposed, add;
  };
  Warpgroup(Block& block, AsyncView& view, Steps& steps) : block_(block), view_(view), steps_(steps) {}
  void fence() { me().fenced = true; }
  void multiply(const Call& call);
  void commit();
  void wait(int newest_groups);
  void check_end_of_thread();

 private:
  // Accumulators of products in flight; meanwhile the threads' registers are poisoned.
  struct Sums {
    unsigned columns;
    bool early;                 // operands are read when the product is issued; otherwise at a random later time
    std::vector<float> values;  // [64, columns]
    // Calls f(index in values, index in the thread's registers) for each accumulator of thread t.
    template <typename F>
    void of_thread(size_t t, const F& f) const;
  };
  struct Product {
    Call call;
    std::shared_ptr<Sums> sums;
    bool first;  // the first product that adds to `sums`
    std::array<const uint32_t*, kWarpgroup> a_registers;
    unsigned asked = 0, delivered = 0;  // threads that have issued it, and that have its result
    bool computed = false;
  };
  struct Link {
    float* registers;
    std::shared_ptr<Sums> sums;
    size_t last;  // index of the last product that adds to them
  };
  struct Thread {
    size_t asked = 0, delivered = 0;  // products issued, and products whose results it has
    std::deque<size_t> groups;        // for each group not yet waited for: `asked` when it was committed
    std::vector<Link> links;
    bool fenced = false;  // since its last wait, after which it may touch its registers
  };

  Thread& me() { return threads_[block_.thread() % kWarpgroup]; }
  Product& product_of(size_t index, const Call& call, const Link* link);
  void compute_up_to(size_t index);
  void compute(Product& product);
  void deliver(Thread& thread, size_t end);
  void read(float (&a)[64][16], const Product& product) const;
  template <typename F>
  void for_each_eight(uint64_t descriptor, bool transposed, unsigned outer, const F& f) const;

  Block& block_;
  AsyncView& view_;
  Steps& steps_;
  std::array<Thread, kWarpgroup> threads_;
  std::deque<Product> products_;  // in flight
  size_t first_ = 0;              // the index of the first of them
};

// registers.cpp. Registers that warps hand to each other (setmaxnreg).
class Registers {
 public:
  explicit Registers(Block& block);
  void change(int registers, bool raise);

 private:
  Block& block_;
  int64_t free_ = 0;
  std::vector<int> threads_;  // registers of each thread
};

// asynchronous.cpp
struct Asynchronous {
  explicit Asynchronous(Block& block);
  Warpgroup& warpgroup();  // the running thread's
  void check_end_of_thread();
  void end();

  Block& block;
  AsyncView view;
  Steps steps;
  Mbarriers barriers;
  NamedBarriers named_barriers;
  TileCopies copies;
  BulkSums bulk_sums;
  Registers registers;
  std::vector<Warpgroup> warpgroups;
};

}  // namespace ropewalk::simt
