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

// to [count] = from, the same bits
template <class Way>
HWY_INLINE void copy_row(int64_t count, const float* from, float* to, const float* next, Way way) {
  transform(count, to, way, [&](int64_t i, auto some) HWY_ATTR {
    prefetch(next + i);
    return load(from + i, some);
  });
}
template <class Way>
HWY_INLINE void copy_row(int64_t count, const BFloat16* from, BFloat16* to, const BFloat16* next, Way way) {
  const hn::ScalableTag<uint16_t> d;
  const auto step = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + step <= count; i += step) {
    prefetch(next + i);
    way(hn::LoadU(d, &from[i].bits), d, &to[i].bits);
  }
  std::copy(from + i, from + count, to + i);
}

// nothing [D]: zeros, the row of tokens that another rank holds.
void embedding_forward_loop(const int32_t* tokens, const Tensor& table, int64_t v_begin, const Tensor& x,
                            const float* nothing) {
  const operations::EmbeddingSizes s{x.rows(), table.extent(0), table.extent(1)};
  by_element(x.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    const E *rows = table.data<E>(), *zeros = reinterpret_cast<const E*>(nothing);
    by_way(worth_streaming(x, {&table}), [&](auto way) HWY_ATTR {
      for (int64_t n = 0; n < s.N; ++n) {
        const int64_t v = tokens[n] - v_begin;
        const E* from = 0 <= v && v < s.V ? rows + v * s.D : zeros;
        copy_row(s.D, from, x.data<E>() + n * s.D, row_after(s, tokens, n, v_begin, rows), way);
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
  scratch_.reserve({table.extent(1)});
  float* nothing = scratch_.take(table.extent(1));
  std::memset(nothing, 0, static_cast<size_t>(table.extent(1) * size_of(table.dtype())));
  HWY_DYNAMIC_DISPATCH(embedding_forward_loop)(tokens.data<int32_t>(), table, v_begin, x, nothing);
}

void CpuBackend::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  HWY_DYNAMIC_DISPATCH(embedding_backward_loop)(tokens.data<int32_t>(), dx, v_begin, dtable);
}

}  // namespace ropewalk
#endif
