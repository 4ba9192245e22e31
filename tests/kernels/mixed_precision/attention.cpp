#include "tests/kernels/mixed_precision/attention.h"

#include <functional>

#include "tests/kernels/mixed_precision/documents.h"

namespace ropewalk {

void attend(const AttentionCase& c, Kernels& kernels, Operands& x) {
  const Shape queries{c.T, c.H, c.K};
  const Tensor q = x.normal("q", queries, Kind::kCompute, c.q_scale), d_o = x.normal("do", queries);
  const Tensor o = x.filled("o", queries, c.unseen), lse = x.filled("lse", {c.T, c.H}, -INFINITY);
  AttentionSpan span;
  span.queries = c.queries;
  span.window = c.window;
  if (!c.documents.empty()) span.document_begin = x.integers({c.T}, document_of_queries(c.documents, c.queries, c.T));
  std::vector<Tensor> keys, values;
  for (size_t i = 0; i < c.pieces.size(); ++i) {
    const Shape shape{c.pieces[i].rows, c.G, c.K};
    keys.push_back(x.normal("k" + std::to_string(i), shape));
    values.push_back(x.normal("v" + std::to_string(i), shape));
    span.keys = c.pieces[i].keys;
    kernels.attention_forward(q, keys[i], values[i], span, o, lse);
  }
  const Tensor delta = x.poison("delta", {c.T, c.H}, Kind::kAccumulator);
  kernels.attention_delta(d_o, x.rounded("o"), delta);
  const Tensor dq = x.normal("dq", queries, Kind::kAccumulator, c.before);
  for (size_t i = 0; i < c.pieces.size(); ++i) {
    span.keys = c.pieces[i].keys;
    kernels.attention_backward(q, keys[i], values[i], d_o, lse, delta, span, dq,
                               x.normal("dk" + std::to_string(i), keys[i].shape(), Kind::kAccumulator, c.before),
                               x.normal("dv" + std::to_string(i), keys[i].shape(), Kind::kAccumulator, c.before));
  }
}

std::vector<std::string> results_of(const AttentionCase& c) {
  std::vector<std::string> results = {"o", "lse", "delta", "dq"};
  for (size_t i = 0; i < c.pieces.size(); ++i)
    for (const char* name : {"dk", "dv"}) results.push_back(name + std::to_string(i));
  return results;
}

Tensors causal_attention(Kernels& kernels, int64_t pieces, int64_t T) {
  const int64_t H = 2, G = 1, K = 64, rows = T / pieces;
  Operands x(kernels);
  const Tensor q = x.normal("q", {T, H, K}), d_o = x.normal("do", {T, H, K});
  const Tensor k = x.normal("k", {T, G, K}), v = x.normal("v", {T, G, K});
  const Tensor o = x.filled("o", q.shape()), lse = x.filled("lse", {T, H}, -INFINITY),
               delta = x.filled("delta", {T, H});
  const Tensor dq = x.filled("dq", q.shape()), dk = x.filled("dk", k.shape()), dv = x.filled("dv", v.shape());
  AttentionSpan span;
  const auto each_piece = [&](const std::function<void(int64_t, int64_t)>& visit) {
    for (span.keys = T - rows; span.keys.begin >= 0; span.keys.begin -= rows)
      visit(span.keys.begin, span.keys.begin + rows);
  };
  each_piece(
      [&](int64_t u, int64_t end) { kernels.attention_forward(q, k.slice(u, end), v.slice(u, end), span, o, lse); });
  kernels.attention_delta(d_o, x.rounded("o"), delta);
  each_piece([&](int64_t u, int64_t end) {
    kernels.attention_backward(q, k.slice(u, end), v.slice(u, end), d_o, lse, delta, span, dq, dk.slice(u, end),
                               dv.slice(u, end));
  });
  Tensors results;
  for (const char* name : {"o", "lse", "dq", "dk", "dv"}) results[name] = x.values(name);
  return results;
}

}  // namespace ropewalk
