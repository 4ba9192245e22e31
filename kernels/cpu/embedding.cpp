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
template <class E>
HWY_INLINE const E* row_after(const operations::EmbeddingSizes& s, const int32_t* tokens, int64_t n, int64_t v_begin,
                              const E* table) {
  const int64_t v = n + 1 < s.N ? tokens[n + 1] - v_begin : -1;
  return table + (0 <= v && v < s.V ? v : 0) * s.D;
}

void embedding_forward_loop(const int32_t* tokens, const Tensor& table, int64_t v_begin, const Tensor& x) {
  const operations::EmbeddingSizes s{x.rows(), table.extent(0), table.extent(1)};
  by_element(x.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    by_way(worth_streaming(x, {&table}), [&](auto way) HWY_ATTR {
      for (int64_t n = 0; n < s.N; ++n) {
        const int64_t v = tokens[n] - v_begin;
        const bool here = 0 <= v && v < s.V;
        const E *from = table.data<E>() + v * s.D, *next = row_after(s, tokens, n, v_begin, table.data<E>());
        E* to = x.data<E>() + n * s.D;
        for_each_vector(s.D, [&](int64_t d, auto some) HWY_ATTR {
          prefetch(next + d);
          store(here ? load(from + d, some) : hn::Zero(Floats()), to + d, some, way);
        });
      }
    });
  });
}

void embedding_backward_loop(const int32_t* tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  const operations::EmbeddingSizes s{dx.rows(), dtable.extent(0), dtable.extent(1)};
  float* table = dtable.data<float>();
  by_element(dx.dtype(), [&](auto element) HWY_ATTR {
    for (int64_t n = 0; n < s.N; ++n) {
      const int64_t v = tokens[n] - v_begin;
      if (v < 0 || v >= s.V) continue;
      const auto* from = dx.data<decltype(element)>() + n * s.D;
      float* to = table + v * s.D;
      const float* next = row_after(s, tokens, n, v_begin, table);
      for_each_vector(s.D, [&](int64_t d, auto some) HWY_ATTR {
        prefetch(next + d);
        store(hn::Add(load(to + d, some), load(from + d, some)), to + d, some);
      });
    }
  });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(embedding_forward_loop);
HWY_EXPORT(embedding_backward_loop);

void CpuBackend::embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) {
  HWY_DYNAMIC_DISPATCH(embedding_forward_loop)(tokens.data<int32_t>(), table, v_begin, x);
}

void CpuBackend::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  HWY_DYNAMIC_DISPATCH(embedding_backward_loop)(tokens.data<int32_t>(), dx, v_begin, dtable);
}

}  // namespace ropewalk
#endif
