#include "parallel/attention/counted_ring.h"

#include "parallel/attention/attention_pass.h"
#include "parallel/attention/ring_plan.h"

namespace ropewalk {
namespace {

// Many blocks as one tensor: addresses without memory.
struct Blocks {
  Blocks(Kernels& kernels, const Tensor& kv, DType dtype, int64_t rows)
      : shape{2, rows, kv.extent(2), kv.extent(3)},
        buffer(kernels.allocate(shape.elements() * size_of(dtype))),
        tensor(buffer->data(), dtype, kernels.device(), shape) {}

  Shape shape;
  std::unique_ptr<Buffer> buffer;
  Tensor tensor;
};

// The ranks from which a rank's neighbours are counted, and the rows of all blocks but one.
struct Ring {
  const Communicator& group;
  const Sequences& sequences;

  int next() const { return (group.rank() + 1) % group.size(); }
  int previous() const { return ring_source(group.rank(), 1, group.size()); }
  int64_t rows_without(int rank) const {
    return sequences.count * (sequences.layout->length() - sequences.layout->local_length(rank));
  }
};

// Calls visit(queries, keys) for each piece of the rank's queries with all keys that precede its end.
template <typename Visit>
void for_each_piece(const Ring& ring, Visit visit) {
  for (int64_t b = 0; b < ring.sequences.count; ++b)
    for (const Piece& piece : ring.sequences.layout->pieces(ring.group.rank()))
      visit(shifted(piece, b * ring.sequences.local_length), Piece{0, piece.end, 0});
}

}  // namespace

void CountedRing::forward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o,
                          const Tensor& lse, Arena& arena) {
  check_attention(group_, q, kv, sequences);
  const ArenaScope scope(arena);
  const Ring ring{group_, sequences};
  allocate_ring_buffers(kv, sequences, kv.dtype(), 2, arena);
  const ForwardPass pass(kernels_, std::nullopt, q, sequences, o, lse);

  if (group_.size() > 1) {
    const Blocks sent(kernels_, kv, kv.dtype(), ring.rows_without(ring.next()));
    group_.start_exchange(std::vector<Message>{{ring.next(), sent.tensor}}, {})->wait();
  }
  const Blocks all(kernels_, kv, kv.dtype(), sequences.layout->length());
  for_each_piece(ring, [&](const LocalRows& queries, const LocalRows& keys) {
    pass.visit(queries, split_key_values(all.tensor), keys, nullptr);
  });
}

void CountedRing::backward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o,
                           const Tensor& lse, const Tensor& d_o, const Tensor& dq, const Tensor& dkv, Arena& arena) {
  check_attention(group_, q, kv, sequences);
  const ArenaScope scope(arena);
  const Ring ring{group_, sequences};
  allocate_ring_buffers(kv, sequences, kv.dtype(), 2, arena);
  allocate_ring_buffers(kv, sequences, dkv.dtype(), 3, arena);
  const BackwardPass pass(kernels_, std::nullopt, q, sequences, o, lse, d_o, dq, arena);
  kernels_.fill(dkv, 0.0);

  if (group_.size() > 1) {
    const Blocks blocks(kernels_, kv, kv.dtype(), ring.rows_without(ring.next()));
    const Blocks sums(kernels_, kv, dkv.dtype(), ring.rows_without(group_.rank()));
    group_.start_exchange(std::vector<Message>{{ring.next(), blocks.tensor}, {ring.next(), sums.tensor}}, {})->wait();
    kernels_.fill(sums.tensor, 0.0);
    const Blocks added(kernels_, kv, dkv.dtype(), ring.rows_without(ring.previous()));
    const Blocks arrived(kernels_, kv, dkv.dtype(), ring.rows_without(ring.previous()));
    kernels_.add(added.tensor, arrived.tensor, added.tensor);
  }
  const Blocks all(kernels_, kv, kv.dtype(), sequences.layout->length());
  const Blocks gradients(kernels_, kv, dkv.dtype(), sequences.layout->length());
  for_each_piece(ring, [&](const LocalRows& queries, const LocalRows& keys) {
    pass.visit(queries, split_key_values(all.tensor), keys, split_key_values(gradients.tensor), nullptr);
  });
}

}  // namespace ropewalk
