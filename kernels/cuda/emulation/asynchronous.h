// What goes on beside the threads of a block, as Hopper's engines do it: barriers that count bytes, copies and sums of
// tiles, products of warpgroups. hopper.h says what threads ask of them.
#pragma once

#include <map>

#include "kernels/cuda/emulation/block.h"
#include "kernels/cuda/emulation/hopper.h"

namespace ropewalk::simt {

constexpr unsigned kWarpgroup = 128;

// Where a piece of 16 bytes is: the swizzle of 128 bytes exchanges those of a row by the row's number modulo 8
// ("Tensors: Swizzling Modes").
inline uint32_t swizzled(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

// proxies.cpp. Shared memory as the asynchronous proxy sees it: what threads store is not there before they fence.
// Addresses are those of the shared window, whose first KiB is the system's.
class AsyncView {
 public:
  explicit AsyncView(Block& block) : block_(block), seen_(block.shared_bytes(), kPoison) {}

  uint32_t address(const void* shared) const;
  const unsigned char* at(uint32_t address, size_t bytes) const;
  void check(const void* shared, size_t bytes, size_t alignment) const;  // that it is there
  // By the engines, for everybody.
  void write(uint32_t address, const void* from, size_t bytes);
  void poison(const void* shared, size_t bytes);
  void publish();  // what threads have stored

 private:
  size_t offset(uint32_t address, size_t bytes) const;
  Block& block_;
  std::vector<unsigned char> seen_;
};

// asynchronous.cpp. What the engines have still to do, in any order: at drawn times, some of it only when all threads
// wait.
class Steps {
 public:
  void add(std::function<void()> step) { (one_in(2) ? soon_ : at_last_).push_back(std::move(step)); }
  bool do_one(bool all_wait);  // false: there is none

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
  void complete(uint64_t* word, uint32_t bytes);  // by a copy
  void end();

 private:
  struct Mbarrier {
    int64_t expected, pending;  // arrivals: in a phase, and still in this one
    int64_t bytes = 0;          // announced and not there yet
    uint64_t phase = 0;
    bool published = false;
    uint64_t word() const;  // what lies in shared memory
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

// bulk.cpp. Tiles that come piece by piece.
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
  size_t under_way_ = 0;  // pieces
};

// bulk.cpp. Sums into device memory: read at one time, added at another.
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
    std::deque<Group> groups;  // under way
    Group open;
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
    const uint32_t* a_registers;  // null: a is a descriptor
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
  // Accumulators of products under way; the threads' registers are poisoned meanwhile.
  struct Sums {
    unsigned columns;
    bool early;                 // operands are read when the product is asked for; otherwise at a drawn time
    std::vector<float> values;  // [64, columns]
    // Calls f(number in values, number in the registers) for what thread t has.
    template <typename F>
    void of_thread(size_t t, const F& f) const;
  };
  struct Product {
    Call call;
    std::shared_ptr<Sums> sums;
    bool first;  // of its sums
    std::array<const uint32_t*, kWarpgroup> a_registers;
    unsigned asked = 0, delivered = 0;  // threads
    bool computed = false;
  };
  struct Link {
    float* registers;
    std::shared_ptr<Sums> sums;
    size_t last;  // product that adds to them
  };
  struct Thread {
    size_t asked = 0, delivered = 0;  // products
    std::deque<size_t> groups;        // products asked for at each commit, of those not yet waited for
    std::vector<Link> links;
    bool fenced = false;  // since registers may have been touched
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
  std::deque<Product> products_;  // under way
  size_t first_ = 0;              // the number of the first of them
};

// registers.cpp. Registers that warps hand to each other.
class Registers {
 public:
  explicit Registers(Block& block);
  void change(int registers, bool raise);

 private:
  Block& block_;
  int64_t free_ = 0;
  std::vector<int> threads_;  // what each has
};

// asynchronous.cpp
struct Asynchronous {
  explicit Asynchronous(Block& block);
  Warpgroup& warpgroup();  // of the running thread
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
