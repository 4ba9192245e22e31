#include "kernels/cuda/products.h"

#include <algorithm>
#include <vector>

#include "kernels/cuda/elements.h"

namespace ropewalk::cuda_emulated {

namespace {

// Widens to a matrix [rows, columns]; if `transposed`, `data` is [columns, rows].
std::vector<float> widened(const void* data, bool transposed, int64_t rows, int64_t columns) {
  const auto* x = static_cast<const Bf16*>(data);
  std::vector<float> out(static_cast<size_t>(rows * columns));
  float* to = out.data();
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      *to++ = widen(x[transposed ? column * rows + row : row * columns + column]);
  return out;
}

// Each element is summed in the order of the inner dimension.
void run(const Product& p) {
  const std::vector<float> a = widened(p.a, p.a_transposed, p.rows, p.inner),
                           b = widened(p.b, p.b_transposed, p.inner, p.columns);
  std::vector<float> sums(static_cast<size_t>(p.columns));
  for (int64_t row = 0; row < p.rows; ++row) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (int64_t i = 0; i < p.inner; ++i) {
      const float factor = a[static_cast<size_t>(row * p.inner + i)];
      const float* factors = b.data() + i * p.columns;
      for (int64_t column = 0; column < p.columns; ++column)
        sums[static_cast<size_t>(column)] += factor * factors[column];
    }
    const auto write = [&](auto* c) {
      for (int64_t column = 0; column < p.columns; ++column) {
        const float before = p.write == Write::kAdd ? widen(c[column]) : 0;
        c[column] = rounded<std::remove_pointer_t<decltype(c)>>(before + sums[static_cast<size_t>(column)]);
      }
    };
    const int64_t at = row * p.columns;
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
