// Full attention on a ring (Liu et al., arXiv 2310.01889). Each rank's block of keys and values travels once around the
// ring, and each rank's queries visit each block. The next block is in flight while the current one is computed.
//
//   forward, P = 4, rank r          step 0       1          2          3
//     visits block                  r            r-1        r-2        r-3
//     receives meanwhile block      r-1          r-2        r-3        -
//
// In the backward the blocks travel again, and the gradients of each block travel one step behind it: a rank adds what
// its queries contribute and passes the sums on. With several ranks, it visits its own block in two parts, first and
// last, so that computation also hides the arrival of the first block, and of the gradients of its own block:
//
//   backward                        step 0       1          2          3          4
//     visits block                  r, part      r-1        r-2        r-3        r, part
//     receives meanwhile block      r-1          r-2        r-3        -          -
//     and gradients of block        -            -          r-2        r-3        r
//
// In the forward rank r sends P-1 blocks, all but block r+1. In the backward it sends the same P-1 blocks, and the
// gradients of all blocks but its own. The gradients of a block are added in the order in which it travels, so they
// have the same bits every time.
#include <algorithm>
#include <vector>

#include "parallel/attention/attention.h"
#include "parallel/attention/attention_pass.h"
#include "parallel/attention/counted_ring.h"
#include "parallel/attention/ring_plan.h"

namespace ropewalk {
namespace {

class Ring {
 public:
  Ring(const Communicator& group, const Sequences& sequences) : group_(group), sequences_(sequences) {}

  int ranks() const { return group_.size(); }
  int next() const { return (group_.rank() + 1) % ranks(); }
  int previous() const { return ring_source(group_.rank(), 1, ranks()); }
  int source(int step) const { return ring_source(group_.rank(), step, ranks()); }

  // Calls visit(queries, keys) with the rows to visit at `step` in each sequence, as rows of the tensors.
  template <typename Visit>
  void for_each_sequence(int step, Visit visit) const {
    for (int64_t b = 0; b < sequences_.count; ++b)
      if (const auto met = ring_visit(*sequences_.layout, group_.rank(), source(step), documents_of(sequences_, b)))
        visit(shifted(met->queries, b * rows(0)), shifted(met->keys, b * rows(step)));
  }

  int64_t rows(int step) const { return sequences_.layout->local_length(source(step)); }  // T of the block's rank

  // Shape of the block that this rank holds at `step`; `kv` is this rank's own block.
  Shape block_shape(int step, const Tensor& kv) const {
    return {2, sequences_.count * rows(step), kv.extent(2), kv.extent(3)};
  }

 private:
  const Communicator& group_;
  const Sequences& sequences_;
};

// Buffers for arriving blocks, used in turn: the blocks of `count` consecutive steps do not share memory.
class BlockBuffers {
 public:
  BlockBuffers(const Ring& ring, const Tensor& kv, const Sequences& sequences, DType dtype, int count, Arena& arena)
      : ring_(ring), kv_(kv), buffers_(allocate_ring_buffers(kv, sequences, dtype, count, arena)) {}
  // In the shape of the block that this rank holds at `step`.
  Tensor at(int step) const {
    const Shape shape = ring_.block_shape(step, kv_);
    return buffers_[static_cast<size_t>(step) % buffers_.size()].slice(0, shape.elements()).reshape(shape);
  }

 private:
  const Ring& ring_;
  const Tensor kv_;
  std::vector<Tensor> buffers_;
};

class RingAttention final : public DistributedAttention {
 public:
  RingAttention(Kernels& kernels, Communicator& group) : kernels_(kernels), group_(group) {}

  void forward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o, const Tensor& lse,
               Arena& arena) override {
    check_attention(group_, q, kv, sequences);
    const ArenaScope scope(arena);
    const Ring ring(group_, sequences);
    const BlockBuffers arriving(ring, kv, sequences, kv.dtype(), 2, arena);
    const ForwardPass pass(kernels_, std::nullopt, q, sequences, o, lse);

    for (int step = 0; step < ring.ranks(); ++step) {
      const Tensor block = step == 0 ? kv : arriving.at(step);
      std::vector<Message> sends, receives;
      if (step + 1 < ring.ranks()) {
        sends.push_back({ring.next(), block});
        receives.push_back({ring.previous(), arriving.at(step + 1)});
      }
      const std::unique_ptr<Transfer> exchange = start(sends, receives);
      const KeyValues key_values = split_key_values(block);
      ring.for_each_sequence(step, [&](const LocalRows& queries, const LocalRows& keys) {
        pass.visit(queries, key_values, keys, exchange.get());
      });
      if (exchange) exchange->wait();
    }
  }

  void backward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o, const Tensor& lse,
                const Tensor& d_o, const Tensor& dq, const Tensor& dkv, Arena& arena) override {
    check_attention(group_, q, kv, sequences);
    const ArenaScope scope(arena);
    const Ring ring(group_, sequences);
    const BlockBuffers arriving(ring, kv, sequences, kv.dtype(), 2, arena);
    // Gradients with this rank's contribution, and as the previous rank sends them.
    const BlockBuffers sums(ring, kv, sequences, dkv.dtype(), 2, arena);
    const BlockBuffers arriving_sums(ring, kv, sequences, dkv.dtype(), 1, arena);
    const BackwardPass pass(kernels_, std::nullopt, q, sequences, o, lse, d_o, dq, arena);
    kernels_.fill(dkv, 0.0);

    for (int step = 0; step <= ring.ranks(); ++step) {
      const bool own = ring.source(step) == group_.rank();
      const Tensor block = own ? kv : arriving.at(step);
      const Tensor gradient = own ? dkv : sums.at(step);
      std::vector<Message> sends, receives;
      if (step + 1 < ring.ranks()) {
        sends.push_back({ring.next(), block});
        receives.push_back({ring.previous(), arriving.at(step + 1)});
      }
      if (step >= 2) {
        sends.push_back({ring.next(), sums.at(step - 1)});
        receives.push_back({ring.previous(), arriving_sums.at(step)});
      }
      const std::unique_ptr<Transfer> exchange = start(sends, receives);
      if (!own) kernels_.fill(gradient, 0.0);
      const KeyValues key_values = split_key_values(block), gradients = split_key_values(gradient);
      ring.for_each_sequence(step, [&](const LocalRows& queries, const LocalRows& keys) {
        pass.visit(own ? own_queries(queries, step, ring.ranks()) : queries, key_values, keys, gradients,
                   exchange.get());
      });
      if (exchange) exchange->wait();
      if (step >= 2) kernels_.add(gradient, arriving_sums.at(step), gradient);
    }
  }

 private:
  std::unique_ptr<Transfer> start(const std::vector<Message>& sends, const std::vector<Message>& receives) const {
    return sends.empty() ? nullptr : group_.start_exchange(sends, receives);
  }

  Kernels& kernels_;
  Communicator& group_;
};

}  // namespace

std::vector<Tensor> allocate_ring_buffers(const Tensor& kv, const Sequences& sequences, DType dtype, int count,
                                          Arena& arena) {
  const SequenceLayout& layout = *sequences.layout;
  const int64_t rows = layout.ranks() == 1 ? 0 : sequences.count * layout.longest_local_length();
  std::vector<Tensor> buffers;
  for (int i = 0; i < count; ++i) buffers.push_back(arena.allocate(dtype, {2 * rows * kv.extent(2) * kv.extent(3)}));
  return buffers;
}

std::unique_ptr<DistributedAttention> make_ring_attention(Kernels& kernels, Communicator& group) {
  if (!kernels.backend().computes()) return std::make_unique<CountedRing>(kernels, group);
  return std::make_unique<RingAttention>(kernels, group);
}

}  // namespace ropewalk
