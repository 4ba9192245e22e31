// Rows of a table that is split by rows over ranks.
#include "kernels/cpu/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

void embedding_backward_loop(const reference::EmbeddingSizes& s, const int32_t* tokens, const float* dx,
                             int64_t v_begin, float* dtable) {
  for (int64_t n = 0; n < s.N; ++n) {
    const int64_t v = tokens[n] - v_begin;
    if (v < 0 || v >= s.V) continue;
    const float* from = dx + n * s.D;
    float* to = dtable + v * s.D;
    for_each_vector(s.D, [&](int64_t d, auto some)
                             HWY_ATTR { store(hn::Add(load(to + d, some), load(from + d, some)), to + d, some); });
  }
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(embedding_backward_loop);

void CpuKernels::embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) {
  const auto s = reference::embedding_forward_sizes(*this, tokens, table, x);
  const int32_t* token = tokens.data<int32_t>();
  for (int64_t n = 0; n < s.N; ++n) {
    const int64_t v = token[n] - v_begin;
    float* row = x.data<float>() + n * s.D;
    if (0 <= v && v < s.V)
      std::copy_n(table.data<float>() + v * s.D, s.D, row);
    else
      std::fill_n(row, s.D, 0.0f);
  }
}

void CpuKernels::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  const auto s = reference::embedding_backward_sizes(*this, tokens, dx, dtable);
  HWY_DYNAMIC_DISPATCH(embedding_backward_loop)
  (s, tokens.data<int32_t>(), dx.data<float>(), v_begin, dtable.data<float>());
}

}  // namespace ropewalk
#endif
