#include "trainer/inference/predictor.h"

#include "trainer/data/slice.h"

namespace ropewalk {
namespace {

// The position of local row `row` of a sequence.
int64_t position_of(int64_t row, const Pieces& pieces) {
  const Piece& piece = row < pieces[0].size() ? pieces[0] : pieces[1];
  return piece.begin + row - piece.local;
}

}  // namespace

std::vector<TokenLoss> Predictor::losses(std::span<const Sample> samples, const SequenceLayout& layout) const {
  const Rank& rank = replica_.rank;
  ArenaScope scope(rank.arena);
  const Sequences sequences = slice(samples, layout, rank.mesh.context_rank(), rank.kernels, rank.arena);
  const Tensor x = replica_.model.infer(replica_.weights, sequences, sync_);
  const Pieces pieces = layout.pieces(rank.mesh.context_rank());
  std::vector<TokenLoss> out;
  for (const TargetScore& score : replica_.model.head().score(replica_.weights, sequences, x))
    out.push_back({position_of(score.row % sequences.local_length, pieces), score.loss, score.is_greedy});
  return out;
}

std::vector<double> Predictor::next_token_logits(const std::vector<int32_t>& tokens, KeyValueCache* cache,
                                                 int64_t slot) const {
  const Rank& rank = replica_.rank;
  Mesh& mesh = rank.mesh;
  ArenaScope scope(rank.arena);
  const int64_t length = std::ssize(tokens);
  const Sample sample{tokens, std::vector<int32_t>(tokens.size(), -1), std::vector<int32_t>(tokens.size(), 0)};
  const SequenceLayout layout(length, mesh.shape().context_parallel);
  const Sequences sequences = slice({&sample, 1}, layout, mesh.context_rank(), rank.kernels, rank.arena);
  KeyValueSink sink;
  if (cache) {
    cache->begin_prompt(slot, length);
    sink = [&](size_t layer, const Tensor& kv) { cache->store_prompt(layer, slot, layout, kv); };
  }
  const Tensor x = replica_.model.infer(replica_.weights, sequences, sync_, sink);

  const HeldPiece last = layout.piece_at(length - 1);
  std::vector<double> logits(static_cast<size_t>(replica_.config.model.vocabulary));
  if (last.rank == mesh.context_rank()) {
    const int64_t row = last.piece.local + length - 1 - last.piece.begin;
    const std::vector<double> here =
        replica_.model.head().logits(replica_.weights, sequences.local_length, x, {row, row + 1});
    if (!here.empty()) logits = here;
  }
  mesh.sequence().broadcast(Tensor(logits.data(), DType::kF64, Device{}, {std::ssize(logits)}), last.rank);
  return logits;
}

std::vector<double> Predictor::next_token_logits(std::span<const NewToken> tokens, KeyValueCache& cache) const {
  const Rank& rank = replica_.rank;
  ArenaScope scope(rank.arena);
  const Tensor x = replica_.model.decode(replica_.weights, tokens, cache, sync_);
  return replica_.model.head().logits(replica_.weights, std::ssize(tokens), x, {0, std::ssize(tokens)});
}

}  // namespace ropewalk
