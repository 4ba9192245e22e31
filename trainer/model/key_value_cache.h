// The keys and values of the tokens that a model has seen, for generating the next ones: for each layer and for each of
// several sequences ("slots"). Of W = a layer's window, L = the longest sequence and P context ranks, a slot of a layer
// has room for
//
//     sliding   min(W, L) rows             position p in row p mod min(W, L), the same on all context ranks: attention
//                                          to a window needs no communication
//     full      min(L, ceil(L / P) + 2)    those rows of the prompt that the zigzag layout gives the rank, then those
//                                          of later positions p with p mod P = rank. Ranks attend to their own rows,
//                                          and merge
//
// of 2 g K elements each (g: KV heads of this tensor rank, K: head size). Keys are stored as attention reads them,
// after QK-Norm and RoPE, so the order of the rows does not matter: a new token sees every row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/attention/sequence_layout.h"
#include "parallel/rank.h"
#include "trainer/config/config.h"

namespace ropewalk {

// A token that follows those of its slot.
struct NewToken {
  int64_t slot;
  int64_t position;  // in its sequence
  int32_t token;
};

class KeyValueCache {
 public:
  // Room for `slots` sequences of at most `length` tokens, from the arena: valid until the enclosing ArenaScope ends.
  // The objects that `rank` refers to must outlive this.
  KeyValueCache(const ModelConfig& model, Rank rank, int64_t slots, int64_t length);

  int64_t slots() const { return static_cast<int64_t>(prompt_lengths_.size()); }
  int64_t length() const { return length_; }
  // Bytes of one slot on each rank, by the formula above. type: the compute type.
  static int64_t bytes_per_slot(const ModelConfig& model, const MeshShape& mesh, DType type, int64_t length);

  // A prompt begins in `slot`, which forgets what it had. store_prompt() then takes each layer's rows: kv [2, T, g, K]
  // are those of this rank in `layout`, whose length is the prompt's. Collective over mesh.sequence().
  void begin_prompt(int64_t slot, int64_t prompt_length);
  void store_prompt(size_t layer, int64_t slot, const SequenceLayout& layout, const Tensor& kv);

  // Stores the rows kv [2, B, g, K] of one new token of each of B slots, and sets o [B, H, K] to the attention of q
  // [B, H, K] to all that their slots have. All have the compute type, and on all context ranks the same bits.
  // Collective over mesh.sequence(). A row's bits do not depend on the other rows, nor on the slot.
  void attend(size_t layer, std::span<const NewToken> tokens, const Tensor& q, const Tensor& kv, const Tensor& o);

 private:
  struct Layer {
    LayerKind::Mask mask;
    int64_t rows;  // of a slot
    Tensor kv;     // [2 * slots, rows, g, K]: keys, then values of each slot
  };
  Tensor keys(const Layer& layer, int64_t slot) const;    // [rows, g, K]
  Tensor values(const Layer& layer, int64_t slot) const;  // likewise
  // Copies consecutive rows of keys and values to the rows of a slot from `to` on.
  void store(const Layer& layer, int64_t slot, int64_t to, const Tensor& keys, const Tensor& values);
  void store_window(const Layer& layer, int64_t slot, const SequenceLayout& layout, const Tensor& kv);
  void store_token(const Layer& layer, const NewToken& token, const Tensor& keys, const Tensor& values);
  int64_t rows_held(const Layer& layer, int64_t slot, int64_t length) const;
  void merge(const Tensor& parts, const Tensor& lse_of_parts, const Tensor& o);

  Rank rank_;
  int64_t length_;
  std::vector<Layer> layers_;
  std::vector<int64_t> prompt_lengths_;  // by slot
};

}  // namespace ropewalk
