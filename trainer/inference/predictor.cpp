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

std::vector<double> Predictor::next_token_logits(const std::vector<int32_t>& tokens) const {
  const Rank& rank = replica_.rank;
  Mesh& mesh = rank.mesh;
  ArenaScope scope(rank.arena);

  // Padding after the last token, which cannot see it (causal mask), so that every rank has rows.
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
