// The operations of this folder's kernels on plain memory, checked by whoever calls (cuda_kernels.cpp): what device
// code and host code have in common. Formulas and shapes are those of kernels.h.
#pragma once

#include "kernels/cuda/elements.h"
#include "kernels/cuda/runtime.h"

namespace ROPEWALK_CUDA {

// ---- elementwise.cu; E is float, double or Bf16
template <typename From, typename To>
void cast(const Runtime& runtime, int64_t count, const From* from, To* to);
template <typename E>
void fill(const Runtime& runtime, int64_t count, E* x, double value);
template <typename E>
void add(const Runtime& runtime, int64_t count, const E* a, const E* b, E* y);

enum class Term { kItself, kSquare };
template <typename E>
double sum(Runtime& runtime, int64_t count, const E* x, Term term);
template <typename E>
int64_t first_not_finite(Runtime& runtime, int64_t count, const E* x);  // count: none

// ---- embedding.cu
void embedding_forward(const Runtime& runtime, int64_t N, int64_t V, int64_t D, const int32_t* tokens,
                       const Bf16* table, int64_t v_begin, Bf16* x);
void embedding_backward(Runtime& runtime, int64_t N, int64_t V, int64_t D, const int32_t* tokens, const Bf16* dx,
                        int64_t v_begin, float* dtable);

// ---- layer_norm.cu; through may be null
void layer_norm_forward(const Runtime& runtime, int64_t N, int64_t D, int64_t M, const Bf16* x, const Bf16* w,
                        float epsilon, Bf16* y, float* mean, float* rstd);
void layer_norm_backward(Runtime& runtime, int64_t N, int64_t D, int64_t M, const Bf16* dy, const Bf16* x,
                         const Bf16* w, const float* mean, const float* rstd, const Bf16* through, Bf16* dx, float* dw);
int64_t widest_layer_norm(int pack);  // the longest rows that it takes, in packs of so many

// ---- rotate.cu; E is float or Bf16; frequencies [K/2] on the device
template <typename E>
void rotate(const Runtime& runtime, int64_t T, int64_t H, int64_t K, E* x, int64_t first_position,
            const double* frequencies, float sign);

// ---- attention_forward.cu, attention_backward.cu; K and H / G are within limits_of(Backend::kCuda)
struct AttentionShape {
  int64_t T, U, H, G, K;
  int64_t q_begin, k_begin, window;  // window 0: none
  const int32_t* document_begin;     // [T] on the device, or null
};
void attention_forward(const Runtime& runtime, const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v,
                       float* o, float* lse);
void attention_delta(const Runtime& runtime, int64_t rows, int64_t K, const Bf16* d_o, const Bf16* o, float* delta);
void attention_backward(const Runtime& runtime, const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v,
                        const Bf16* d_o, const float* lse, const float* delta, float* dq, float* dk, float* dv,
                        bool deterministic);

// ---- cross_entropy.cu; outer = logit_scale * loss_scale
void cross_entropy_partials(const Runtime& runtime, int64_t N, int64_t V, const Bf16* logits, const int32_t* targets,
                            int64_t v_begin, float scale, float* partials);
void cross_entropy_merge(const Runtime& runtime, int64_t R, int64_t N, const float* partials, const int32_t* targets,
                         float* log_sum, float* losses);
void cross_entropy_backward(const Runtime& runtime, int64_t N, int64_t V, Bf16* logits, const int32_t* targets,
                            const float* log_sum, int64_t v_begin, float scale, float outer);

// ---- swiglu.cu
void swiglu_forward(const Runtime& runtime, int64_t count, const Bf16* gate, const Bf16* up, Bf16* h);
void swiglu_backward(const Runtime& runtime, int64_t count, const Bf16* dh, const Bf16* gate, const Bf16* up,
                     Bf16* dgate, Bf16* dup);

// ---- adamw.cu
struct AdamWFactors {
  float gradient_scale, beta1, rest1, beta2, rest2;
  float first, second;  // bias corrections
  float epsilon, rate, decay;
};
void adamw(const Runtime& runtime, int64_t count, float* w, const float* g, float* m, float* v,
           const AdamWFactors& factors);

}  // namespace ROPEWALK_CUDA
