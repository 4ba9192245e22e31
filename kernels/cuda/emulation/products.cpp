#include "kernels/cuda/products.h"

#include "kernels/cuda/elements.h"

namespace ropewalk::cuda_emulated {

namespace {

void run(const Product& p) {
  const auto *a = static_cast<const Bf16*>(p.a), *b = static_cast<const Bf16*>(p.b);
  for (int64_t row = 0; row < p.rows; ++row)
    for (int64_t column = 0; column < p.columns; ++column) {
      float sum = 0;
      for (int64_t i = 0; i < p.inner; ++i)
        sum += widen(a[p.a_transposed ? i * p.rows + row : row * p.inner + i]) *
               widen(b[p.b_transposed ? column * p.inner + i : i * p.columns + column]);
      const auto write = [&](auto* c) {
        const float before = p.write == Write::kAdd ? widen(*c) : 0;
        *c = rounded<std::remove_pointer_t<decltype(c)>>(before + sum);
      };
      const int64_t at = row * p.columns + column;
      if (p.c_type == DType::kF32)
        write(static_cast<float*>(p.c) + at);
      else
        write(static_cast<Bf16*>(p.c) + at);
    }
}

}  // namespace

struct Products::State {};
Products::Products(Runtime& runtime) : runtime_(runtime) {}
Products::~Products() = default;

void Products::multiply(const Product& product) {
  runtime_.stream()->run([product] { run(product); });
}

}  // namespace ropewalk::cuda_emulated
