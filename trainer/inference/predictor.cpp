#include "trainer/inference/predictor.h"

#include "trainer/data/slice.h"

namespace ropewalk {
namespace {

std::vector<double> to_host(const Tensor& x, const Rank& rank) {
  ArenaScope scope(rank.arena);
  const Tensor wide = rank.arena.allocate(DType::kF64, {x.elements()});
  rank.kernels.cast(x.flat(), wide);
  std::vector<double> out(static_cast<size_t>(x.elements()));
  rank.kernels.download(wide, out.data());
  return out;
}

}  // namespace

LossByPosition Predictor::evaluate(const Batch& batch, int64_t micro_batch, int64_t position_ranges) const {
  const Rank& rank = replica_.rank;
  const Model& model = replica_.model;
  LossByPosition out;
  std::vector<double> counts(static_cast<size_t>(position_ranges));
  out.loss.resize(static_cast<size_t>(position_ranges));
  const int64_t length = batch.samples.empty() ? 0 : std::ssize(batch.samples.front().tokens);
  const SequenceLayout layout(length, rank.mesh.shape().context_parallel);
  std::vector<int32_t> targets;
  for (const MicroBatch& micro : micro_batches(batch, micro_batch)) {
    ArenaScope scope(rank.arena);
    const Sequences sequences = slice(micro.samples, layout, rank.mesh.context_rank(), rank.kernels, rank.arena);
    const Tensor x = model.infer(replica_.weights, sequences, sync_);
    const std::vector<double> losses = to_host(model.head().losses(replica_.weights, sequences, x), rank);
    targets.resize(losses.size());
    rank.kernels.download(sequences.targets, targets.data());
    for (int64_t b = 0; b < sequences.count; ++b)
      for (const Piece& piece : layout.pieces(rank.mesh.context_rank()))
        for (int64_t position = piece.begin; position < piece.end; ++position) {
          const size_t row = static_cast<size_t>(b * sequences.local_length + piece.local + position - piece.begin);
          const size_t range = static_cast<size_t>(position * position_ranges / length);
          out.loss[range] += losses[row];
          counts[range] += targets[row] >= 0;
        }
  }
  for (size_t range = 0; range < counts.size(); ++range) {
    out.loss[range] = sum_of(rank.mesh.gradient(), out.loss[range]);
    out.targets.push_back(static_cast<int64_t>(sum_of(rank.mesh.gradient(), counts[range])));
  }
  return out;
}

std::vector<double> Predictor::next_token_logits(const std::vector<int32_t>& tokens) const {
  const Rank& rank = replica_.rank;
  Mesh& mesh = rank.mesh;
  ArenaScope scope(rank.arena);

  // Padded behind the last token, which the causal mask keeps out of its sight, so that every rank has rows.
  const int64_t unit = 8 * mesh.shape().context_parallel * mesh.shape().tensor_parallel;
  const int64_t last = static_cast<int64_t>(tokens.size()) - 1, length = (last / unit + 1) * unit;
  Sample sample{tokens, std::vector<int32_t>(static_cast<size_t>(length), -1),
                std::vector<int32_t>(static_cast<size_t>(length), 0)};
  sample.tokens.resize(static_cast<size_t>(length), 0);
  const SequenceLayout layout(length, mesh.shape().context_parallel);
  const Sequences sequences = slice({&sample, 1}, layout, mesh.context_rank(), rank.kernels, rank.arena);

  const Tensor x = replica_.model.infer(replica_.weights, sequences, sync_);
  std::vector<double> logits(static_cast<size_t>(replica_.config.model.vocabulary));
  int owner = 0;
  for (int holder = 0; holder < layout.ranks(); ++holder)
    for (const Piece& piece : layout.pieces(holder)) {
      if (last < piece.begin || last >= piece.end) continue;
      owner = holder;
      if (holder == mesh.context_rank())
        logits =
            replica_.model.head().logits(replica_.weights, sequences.local_length, x, piece.local + last - piece.begin);
    }
  mesh.sequence().broadcast(Tensor(logits.data(), DType::kF64, Device{}, {std::ssize(logits)}), owner);
  return logits;
}

}  // namespace ropewalk
