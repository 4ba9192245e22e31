#include "kernels/cpu/sgemm.h"

#include <dnnl.h>
#include <omp.h>

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk {

SingleThread::SingleThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
SingleThread::~SingleThread() { omp_set_num_threads(before_); }

void sgemm(int64_t rows, int64_t columns, int64_t inner, float alpha, Matrix a, Matrix b, float beta, float* c,
           int64_t c_stride) {
  if (rows == 0 || columns == 0) return;
  if (inner == 0) {  // oneDNN leaves c as it is
    for (int64_t row = 0; row < rows && beta == 0; ++row) std::fill_n(c + row * c_stride, columns, 0.0f);
    return;
  }
  const auto letter = [](Transpose t) { return t == Transpose::kYes ? 'T' : 'N'; };
  const dnnl_status_t status = dnnl_sgemm(letter(a.transpose), letter(b.transpose), rows, columns, inner, alpha, a.data,
                                          a.stride, b.data, b.stride, beta, c, c_stride);
  if (status != dnnl_success)
    throw DeviceError(
        fmt::format("oneDNN failed with status {} in a product of {} x {} x {}; out of memory if it is {}",
                    static_cast<int>(status), rows, columns, inner, static_cast<int>(dnnl_out_of_memory)));
}

}  // namespace ropewalk
