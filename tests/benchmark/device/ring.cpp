// The computation of ring attention over one causal sequence, without the messages: the visits of all ranks, one after
// another on one device. The ratio to the same sequence on one rank shows what splitting the sequence costs in the
// kernels.
#include "kernels/arena.h"
#include "kernels/flops.h"
#include "parallel/attention/attention_pass.h"
#include "parallel/attention/ring_plan.h"
#include "tests/benchmark/device/operations.h"
#include "tests/benchmark/tensors.h"

namespace ropewalk::benchmark {
namespace {

struct Ring {
  Ring(const nlohmann::json& request, Kernels& device)
      : kernels(device),
        arena(device),
        ranks(request.at("ranks")),
        layout(request.at("length"), ranks),
        rows(layout.local_length(0)),
        H(request.at("heads")),
        K(request.at("head_size")),
        q(device, {rows, H, K}, 1, 1, type),
        kv(device, {2, rows, request.at("key_heads").get<int64_t>(), K}, 2, 1, type),
        d_o(device, {rows, H, K}, 3, 1, type),
        out(device, {rows, H, K}, 0, 1, type),
        o(device, {rows, H, K}, 0, 1, sums),
        lse(device, {rows, H}, 0, 1, sums),
        dq(device, {rows, H, K}, 0, 1, sums),
        dkv(device, kv.tensor.shape(), 0, 1, sums) {
    if (layout.length() % (2 * ranks) != 0)
      throw ConfigurationError("the length must be a multiple of 2 * ranks, so that all ranks have equal pieces: " +
                               request.dump());
    sequences.layout = &layout;
    sequences.count = 1;
    sequences.local_length = rows;
  }

  // All ranks use the same rows, since the values do not matter and memory for one rank is enough.
  template <typename Visit>
  void for_each_step(int rank, const Visit& visit) const {
    for (int step = 0; step < ranks; ++step) visit(*ring_visit(layout, rank, ring_source(rank, step, ranks), {}), step);
  }
  void forward() {
    const KeyValues own = split_key_values(kv.tensor);
    for (int rank = 0; rank < ranks; ++rank) {
      const ForwardPass pass(kernels, {}, q.tensor, sequences, o.tensor, lse.tensor);
      for_each_step(rank, [&](const RingVisit& visit, int) { pass.visit(visit.queries, own, visit.keys, nullptr); });
    }
  }
  void backward() {
    const KeyValues own = split_key_values(kv.tensor), gradients = split_key_values(dkv.tensor);
    for (int rank = 0; rank < ranks; ++rank) {
      ArenaScope scope(arena);
      const BackwardPass pass(kernels, {}, q.tensor, sequences, out.tensor, lse.tensor, d_o.tensor, dq.tensor, arena);
      for_each_step(rank, [&](const RingVisit& visit, int step) {
        const auto visit_keys = [&](const LocalRows& queries) {
          pass.visit(queries, own, visit.keys, gradients, nullptr);
        };
        if (step > 0) return visit_keys(visit.queries);
        visit_keys(own_queries(visit.queries, 0, ranks));
        visit_keys(own_queries(visit.queries, ranks, ranks));
      });
    }
  }
  double flops(Pass pass) const {  // of the full sequence
    const int64_t S = layout.length();
    const Device device = kernels.device();
    const Tensor whole(nullptr, type, device, {S, H, K}), keys(nullptr, type, device, {S, kv.tensor.extent(2), K});
    return static_cast<double>(attention_flops(pass, whole, keys, {}));
  }

  Kernels& kernels;
  Arena arena;
  int ranks;
  SequenceLayout layout;
  int64_t rows;
  int64_t H, K;
  DType type = kernels.dtype(), sums = accumulator_of(type);
  Filled q, kv, d_o, out, o, lse, dq, dkv;
  Sequences sequences;
};

}  // namespace

Operation make_ring(const nlohmann::json& request, Kernels& kernels) {
  const auto ring = std::make_shared<Ring>(request, kernels);
  if (request.at("operation") == "ring_forward") return {[=] { ring->forward(); }, ring->flops(Pass::kForward)};
  ring->forward();
  kernels.cast(ring->o.tensor, ring->out.tensor);
  return {[=] { ring->backward(); }, ring->flops(Pass::kBackward)};
}

}  // namespace ropewalk::benchmark
