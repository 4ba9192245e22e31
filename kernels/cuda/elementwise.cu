// Operations on every element, and sums over all of them.
#include <algorithm>
#include <vector>

#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/operand.h"
#include "kernels/floating.h"

namespace ROPEWALK_CUDA {
namespace {

template <int n, typename From, typename To>
__global__ void cast_kernel(int64_t count, const From* from, To* to) {
  const int64_t i = first_of_thread<n>();
  if (i >= count) return;
  const Pack<From, n> in = load<n>(from + i);
  Pack<To, n> out;
  for (int j = 0; j < n; ++j) out.values[j] = rounded<To>(widen(in.values[j]));
  store(out, to + i);
}

template <int n, typename E>
__global__ void fill_kernel(int64_t count, E* x, double value) {
  const int64_t i = first_of_thread<n>();
  if (i >= count) return;
  Pack<E, n> out;
  for (int j = 0; j < n; ++j) out.values[j] = rounded<E>(value);
  store(out, x + i);
}

template <int n, typename E>
__global__ void add_kernel(int64_t count, const E* a, const E* b, E* y) {
  const int64_t i = first_of_thread<n>();
  if (i >= count) return;
  const Pack<E, n> left = load<n>(a + i), right = load<n>(b + i);
  Pack<E, n> out;
  for (int j = 0; j < n; ++j) out.values[j] = rounded<E>(widen(left.values[j]) + widen(right.values[j]));
  store(out, y + i);
}

struct Itself {
  __device__ double operator()(double x) const { return x; }
};
struct Squared {
  __device__ double operator()(double x) const { return x * x; }
};

// Depends only on the count, so that sums have the same bits on every device.
int64_t sum_blocks(int64_t count) { return std::clamp<int64_t>(blocks_for(count), 1, 512); }
Grid sum_grid(int64_t count) { return {sum_blocks(count), kThreads, 1, 8 * kThreads / kWarp}; }

// partials [blocks] = each block's sum of value(x)
template <int n, typename E, typename Value>
__global__ void sum_kernel(int64_t count, const E* x, Value value, double* partials) {
  double sum = 0;
  for (int64_t i = first_of_thread<n>(); i < count; i += int64_t{gridDim.x} * blockDim.x * n) {
    const Pack<E, n> some = load<n>(x + i);
    for (int j = 0; j < n; ++j) sum += value(static_cast<double>(widen(some.values[j])));
  }
  sum = over_block(sum, Plus(), shared_memory<double>());
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// firsts [blocks] = the smallest index of a value that is not finite among each block's elements, or count
template <typename E>
__global__ void not_finite_kernel(int64_t count, const E* x, int64_t* firsts) {
  int64_t first = count;
  for (int64_t i = first_of_thread<1>(); i < count && first == count; i += int64_t{gridDim.x} * blockDim.x)
    if (!(fabs(static_cast<double>(widen(x[i]))) < INFINITY)) first = i;
  first = over_block(first, Smaller(), shared_memory<int64_t>());
  if (threadIdx.x == 0) firsts[blockIdx.x] = first;
}

template <typename From, typename To>
void launch_cast(const Runtime& runtime, int64_t count, const From* from, To* to) {
  constexpr int kWidest = 16 / std::max(sizeof(From), sizeof(To));
  with_pack<kWidest>(pack_of(count, 16 / kWidest, from, to), [&](auto n) {
    launch(runtime, {blocks_for(count, kThreads * n()), kThreads}, cast_kernel<n(), From, To>, count, from, to);
  });
}

template <typename E>
void launch_fill(const Runtime& runtime, int64_t count, E* x, double value) {
  with_pack<16 / sizeof(E)>(pack_of(count, sizeof(E), x), [&](auto n) {
    launch(runtime, {blocks_for(count, kThreads * n()), kThreads}, fill_kernel<n(), E>, count, x, value);
  });
}

template <typename E>
void launch_add(const Runtime& runtime, int64_t count, const E* a, const E* b, E* y) {
  with_pack<16 / sizeof(E)>(pack_of(count, sizeof(E), a, b, y), [&](auto n) {
    launch(runtime, {blocks_for(count, kThreads * n()), kThreads}, add_kernel<n(), E>, count, a, b, y);
  });
}

template <typename Value, typename E>
double sum_of_values(Runtime& runtime, int64_t count, const E* x) {
  std::vector<double> host(static_cast<size_t>(sum_blocks(count)));
  const auto bytes = static_cast<int64_t>(host.size() * sizeof(double));
  auto* partials = static_cast<double*>(runtime.workspace(bytes));
  with_pack<16 / sizeof(E)>(pack_of(count, sizeof(E), x), [&](auto n) {
    launch(runtime, sum_grid(count), sum_kernel<n(), E, Value>, count, x, Value(), partials);
  });
  runtime.to_host(partials, host.data(), bytes);
  double total = 0;
  for (double partial : host) total += partial;
  return total;
}

// The first index of a value that is not finite; count if all are finite.
template <typename E>
int64_t first_of(Runtime& runtime, int64_t count, const E* x) {
  std::vector<int64_t> host(static_cast<size_t>(sum_blocks(count)));
  const auto bytes = static_cast<int64_t>(host.size() * sizeof(int64_t));
  auto* firsts = static_cast<int64_t*>(runtime.workspace(bytes));
  launch(runtime, sum_grid(count), not_finite_kernel<E>, count, x, firsts);
  runtime.to_host(firsts, host.data(), bytes);
  return *std::min_element(host.begin(), host.end());
}

}  // namespace

void CudaBackend::copy(const Tensor& from, const Tensor& to) {
  runtime_.copy(from.raw(), to.raw(), from.bytes(), runtime_.stream());
}

void CudaBackend::cast(const Tensor& from, const Tensor& to) {
  visit_floating<Bf16>(from.dtype(), [&](auto source) {
    visit_floating<Bf16>(to.dtype(), [&](auto target) {
      launch_cast(runtime_, from.elements(), at<decltype(source)>(from), at<decltype(target)>(to));
    });
  });
}

void CudaBackend::fill(const Tensor& x, double value) {
  visit_floating<Bf16>(x.dtype(),
                       [&](auto element) { launch_fill(runtime_, x.elements(), at<decltype(element)>(x), value); });
}

void CudaBackend::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  visit_floating<Bf16>(a.dtype(), [&](auto element) {
    using E = decltype(element);
    launch_add(runtime_, a.elements(), at<E>(a), at<E>(b), at<E>(y));
  });
}

double CudaBackend::sum(const Tensor& x) {
  double total = 0;
  visit_floating<Bf16>(x.dtype(), [&](auto element) {
    total = sum_of_values<Itself>(runtime_, x.elements(), at<decltype(element)>(x));
  });
  return total;
}

double CudaBackend::sum_of_squares(const Tensor& x) {
  double total = 0;
  visit_floating<Bf16>(x.dtype(), [&](auto element) {
    total = sum_of_values<Squared>(runtime_, x.elements(), at<decltype(element)>(x));
  });
  return total;
}

std::optional<int64_t> CudaBackend::first_not_finite(const Tensor& x) {
  int64_t first = 0;
  visit_floating<Bf16>(x.dtype(),
                       [&](auto element) { first = first_of(runtime_, x.elements(), at<decltype(element)>(x)); });
  return first < x.elements() ? std::optional(first) : std::nullopt;
}

}  // namespace ROPEWALK_CUDA
