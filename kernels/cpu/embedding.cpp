// The embedding: rows of a table that is split by rows over ranks.
#include "kernels/operations/embedding.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/streaming.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// The row of the next token, to prefetch during this one: rows are at random places. If the row is not in this table,
// the table's first row.
HWY_INLINE const float* row_after(const operations::EmbeddingSizes& s, const int32_t* tokens, int64_t n,
                                  int64_t v_begin, const float* table) {
  const int64_t v = n + 1 < s.N ? tokens[n + 1] - v_begin : -1;
  return table + (0 <= v && v < s.V ? v : 0) * s.D;
}

void embedding_forward_loop(const operations::EmbeddingSizes& s, const int32_t* tokens, const float* table,
                            int64_t v_begin, float* x, bool streamed) {
  by_way(streamed, [&](auto way) HWY_ATTR {
    for (int64_t n = 0; n < s.N; ++n) {
      const int64_t v = tokens[n] - v_begin;
      const bool here = 0 <= v && v < s.V;
      const float *from = table + v * s.D, *next = row_after(s, tokens, n, v_begin, table);
      for_each_vector(s.D, [&](int64_t d, auto some) HWY_ATTR {
        prefetch(next + d);
        store(here ? load(from + d, some) : hn::Zero(Floats()), x + n * s.D + d, some, way);
      });
    }
  });
}

void embedding_backward_loop(const operations::EmbeddingSizes& s, const int32_t* tokens, const float* dx,
                             int64_t v_begin, float* dtable) {
  for (int64_t n = 0; n < s.N; ++n) {
    const int64_t v = tokens[n] - v_begin;
    if (v < 0 || v >= s.V) continue;
    const float* from = dx + n * s.D;
    float* to = dtable + v * s.D;
    const float* next = row_after(s, tokens, n, v_begin, dtable);
    for_each_vector(s.D, [&](int64_t d, auto some) HWY_ATTR {
      prefetch(next + d);
      store(hn::Add(load(to + d, some), load(from + d, some)), to + d, some);
    });
  }
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(embedding_forward_loop);
HWY_EXPORT(embedding_backward_loop);

void CpuBackend::embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) {
  if (!wide()) return Backend::embedding_forward(tokens, table, v_begin, x);
  const auto s = operations::embedding_sizes(tokens, table);
  HWY_DYNAMIC_DISPATCH(embedding_forward_loop)
  (s, tokens.data<int32_t>(), table.data<float>(), v_begin, x.data<float>(), worth_streaming(x, {&table}));
}

void CpuBackend::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  if (!wide()) return Backend::embedding_backward(tokens, dx, v_begin, dtable);
  const auto s = operations::embedding_sizes(tokens, dtable);
  HWY_DYNAMIC_DISPATCH(embedding_backward_loop)
  (s, tokens.data<int32_t>(), dx.data<float>(), v_begin, dtable.data<float>());
}

}  // namespace ropewalk
#endif
