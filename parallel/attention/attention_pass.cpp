#include "parallel/attention/attention_pass.h"

#include <algorithm>
#include <limits>

namespace ropewalk {
namespace {

Tensor rows_of(const Tensor& x, const LocalRows& rows) { return x.slice(rows.local, rows.local + rows.count); }

AttentionSpan span_of(const LocalRows& queries, const LocalRows& keys, std::optional<int64_t> window,
                      const Tensor& document_begin) {
  return {.queries = queries.positions,
          .keys = keys.positions,
          .window = window,
          .document_begin = document_begin.empty() ? Tensor() : rows_of(document_begin, queries)};
}

template <typename Visit>
void visit_in_parts(const LocalRows& queries, const LocalRows& keys, Transfer* exchange, Visit visit) {
  if (queries.count == 0 || keys.count == 0) return;
  if (!exchange || !exchange->needs_polling()) return visit(queries);
  for (int64_t from = 0; from < queries.count; from += kQueriesPerProgress) {
    visit(part_of(queries, from, std::min(from + kQueriesPerProgress, queries.count)));
    exchange->progress();
  }
}

}  // namespace

KeyValues split_key_values(const Tensor& kv) {
  const Shape half{kv.extent(1), kv.extent(2), kv.extent(3)};
  return {kv.slice(0, 1).reshape(half), kv.slice(1, 2).reshape(half)};
}

const std::vector<int32_t>& documents_of(const Sequences& sequences, int64_t b) {
  static const std::vector<int32_t> kOneDocument;
  return sequences.documents.empty() ? kOneDocument : sequences.documents[static_cast<size_t>(b)];
}

void check_attention(const Communicator& group, const Tensor& q, const Tensor& kv, const Sequences& sequences) {
  const SequenceLayout& layout = *sequences.layout;
  CHECK(layout.ranks() == group.size(), "a layout over {} ranks in a group of {}", layout.ranks(), group.size());
  CHECK(sequences.local_length == layout.local_length(group.rank()), "{} local tokens where the layout has {}",
        sequences.local_length, layout.local_length(group.rank()));
  const int64_t rows = sequences.count * sequences.local_length;
  CHECK(q.shape().rank() == 3 && q.rows() == rows, "queries {} of {} rows", q.shape().text(), rows);
  CHECK(kv.shape() == Shape({2, rows, kv.extent(2), q.extent(2)}), "keys and values {} for queries {}",
        kv.shape().text(), q.shape().text());
  CHECK(sequences.documents.empty() || static_cast<int64_t>(sequences.documents.size()) == sequences.count,
        "documents of {} sequences, not of {}", sequences.documents.size(), sequences.count);
  CHECK(sequences.documents.empty() == sequences.document_begin.empty(),
        "documents must be given on the host and on the device, or on neither");
}

ForwardPass::ForwardPass(Kernels& kernels, std::optional<int64_t> window, const Tensor& q, const Sequences& sequences,
                         const Tensor& o, const Tensor& lse)
    : kernels_(kernels), window_(window), q_(q), document_begin_(sequences.document_begin), o_(o), lse_(lse) {
  kernels.fill(lse, -std::numeric_limits<double>::infinity());
}

void ForwardPass::visit(const LocalRows& queries, const KeyValues& kv, const LocalRows& keys,
                        Transfer* exchange) const {
  visit_in_parts(queries, keys, exchange, [&](const LocalRows& part) {
    kernels_.attention_forward(rows_of(q_, part), rows_of(kv.keys, keys), rows_of(kv.values, keys),
                               span_of(part, keys, window_, document_begin_), rows_of(o_, part), rows_of(lse_, part));
  });
}

BackwardPass::BackwardPass(Kernels& kernels, std::optional<int64_t> window, const Tensor& q, const Sequences& sequences,
                           const Tensor& o, const Tensor& lse, const Tensor& d_o, const Tensor& dq, Arena& arena)
    : kernels_(kernels),
      window_(window),
      q_(q),
      document_begin_(sequences.document_begin),
      lse_(lse),
      delta_(arena.allocate(lse.dtype(), lse.shape())),
      d_o_(d_o),
      dq_(dq) {
  kernels.attention_delta(d_o, o, delta_);
  kernels.fill(dq, 0.0);
}

void BackwardPass::visit(const LocalRows& queries, const KeyValues& kv, const LocalRows& keys, const KeyValues& dkv,
                         Transfer* exchange) const {
  visit_in_parts(queries, keys, exchange, [&](const LocalRows& part) {
    kernels_.attention_backward(rows_of(q_, part), rows_of(kv.keys, keys), rows_of(kv.values, keys),
                                rows_of(d_o_, part), rows_of(lse_, part), rows_of(delta_, part),
                                span_of(part, keys, window_, document_begin_), rows_of(dq_, part),
                                rows_of(dkv.keys, keys), rows_of(dkv.values, keys));
  });
}

}  // namespace ropewalk
