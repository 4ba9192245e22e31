#include "kernels/cuda/products.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <utility>

#include "kernels/cuda/device/check.h"
#include "kernels/error.h"

namespace ropewalk::cuda {
namespace {

constexpr int64_t kWorkspaceBytes = 64 << 20;  // cuBLAS's own default on Hopper is 32 MiB
constexpr int64_t kAlignment = 16;             // of operands, which its fast kernels need

bool aligned(const Product& p) {
  const auto is = [](const void* at) { return reinterpret_cast<uintptr_t>(at) % kAlignment == 0; };
  return is(p.a) && is(p.b) && is(p.c);
}

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(fmt::format("cuBLASLt: {}: {}", what, cublasLtGetStatusString(status)));
}

// Owns a cuBLASLt object.
template <typename T, cublasStatus_t (*destroy)(T)>
struct Owned {
  T value{};
  Owned() = default;
  Owned(Owned&& other) noexcept : value(std::exchange(other.value, T{})) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(value, other.value);
    return *this;
  }
  ~Owned() {
    if (value) destroy(value);
  }
};
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Operation = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

// A row-major [rows, columns] is what cuBLAS calls column-major [columns, rows].
Layout layout_of(cudaDataType type, int64_t rows, int64_t columns) {
  Layout layout;
  check(cublasLtMatrixLayoutCreate(&layout.value, type, static_cast<uint64_t>(columns), static_cast<uint64_t>(rows),
                                   columns),
        "creating a matrix layout");
  return layout;
}

// How cuBLASLt computes a product of one shape. Chosen once, so that every call sums in the same order.
struct Plan {
  Operation operation;
  Layout a, b, c;
  cublasLtMatmulAlgo_t algorithm;
};

using Key = std::tuple<int64_t, int64_t, int64_t, bool, bool, DType, bool>;

}  // namespace

struct Products::State {
  cublasLtHandle_t handle = nullptr;
  std::map<Key, Plan> plans;
  State() { check(cublasLtCreate(&handle), "creating a handle"); }
  ~State() {
    plans.clear();
    cublasLtDestroy(handle);
  }
  Plan make(const Product& p) const;
};

Products::Products(Runtime& runtime) : runtime_(runtime), state_(std::make_unique<State>()) {
  runtime_.workspace(kWorkspaceBytes);  // allocated now, so that memory which is free from here on is free for tensors
}
Products::~Products() = default;

// c^T = b^T a^T: in column-major terms cuBLAS's first matrix is our b and its second our a.
Plan Products::State::make(const Product& p) const {
  Plan plan;
  check(cublasLtMatmulDescCreate(&plan.operation.value, CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "creating a matmul descriptor");
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, bool transposed) {
    const cublasOperation_t operation = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(cublasLtMatmulDescSetAttribute(plan.operation.value, attribute, &operation, sizeof operation),
          "setting a matmul descriptor");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, p.b_transposed);
  set(CUBLASLT_MATMUL_DESC_TRANSB, p.a_transposed);
  plan.a = p.a_transposed ? layout_of(CUDA_R_16BF, p.inner, p.rows) : layout_of(CUDA_R_16BF, p.rows, p.inner);
  plan.b = p.b_transposed ? layout_of(CUDA_R_16BF, p.columns, p.inner) : layout_of(CUDA_R_16BF, p.inner, p.columns);
  plan.c = layout_of(p.c_type == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF, p.rows, p.columns);

  Preference preference;
  check(cublasLtMatmulPreferenceCreate(&preference.value), "creating a matmul preference");
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference.value, attribute, &value, sizeof value),
          "setting a matmul preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspaceBytes));
  // Split-K partial sums are added in a separate step, in fp32 and always in the same order.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  // For slices of tensors and odd widths, only the alignment of an element is guaranteed.
  const auto alignment = [&](int64_t row_bytes, int64_t element_bytes) {
    return static_cast<uint32_t>(aligned(p) && row_bytes % kAlignment == 0 ? kAlignment : element_bytes);
  };
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(2 * (p.b_transposed ? p.inner : p.columns), 2));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(2 * (p.a_transposed ? p.rows : p.inner), 2));
  const uint32_t of_c = alignment(size_of(p.c_type) * p.columns, size_of(p.c_type));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, of_c);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, of_c);

  // Algorithms come in the order of their estimated speed, and the first one that works is used. Autotuning would gain
  // little: the fastest of eight, as measured, saves less than 2 % in a layer's large products of 8192 rows, and at
  // most 6 % in the logits' products of 4096 rows (H100, cuBLASLt 13.1, Command R7B's shape).
  std::array<cublasLtMatmulHeuristicResult_t, 8> ways{};
  int found = 0;
  check(cublasLtMatmulAlgoGetHeuristic(handle, plan.operation.value, plan.b.value, plan.a.value, plan.c.value,
                                       plan.c.value, preference.value, static_cast<int>(ways.size()), ways.data(),
                                       &found),
        "looking for a matmul algorithm");
  const auto end = ways.begin() + found;
  const auto way = std::find_if(ways.begin(), end, [](const auto& w) { return w.state == CUBLAS_STATUS_SUCCESS; });
  if (way == end)
    throw DeviceError(fmt::format("cuBLASLt has no algorithm to multiply [{}, {}] by [{}, {}] in bf16", p.rows, p.inner,
                                  p.inner, p.columns));
  plan.algorithm = way->algo;
  return plan;
}

void Products::multiply(const Product& p) {
  const Stream stream = runtime_.stream();
  const Key key{p.rows, p.columns, p.inner, p.a_transposed, p.b_transposed, p.c_type, aligned(p)};
  auto found = state_->plans.find(key);
  if (found == state_->plans.end()) found = state_->plans.emplace(key, state_->make(p)).first;
  const Plan& plan = found->second;
  const float one = 1, before = p.write == Write::kAdd ? 1 : 0;
  check(cublasLtMatmul(state_->handle, plan.operation.value, &one, p.b, plan.b.value, p.a, plan.a.value, &before, p.c,
                       plan.c.value, p.c, plan.c.value, &plan.algorithm, runtime_.workspace(kWorkspaceBytes),
                       kWorkspaceBytes, stream),
        "multiplying matrices");
}

}  // namespace ropewalk::cuda
