// Matrix products by oneDNN, on the calling thread alone.
#pragma once

#include <cstdint>

namespace ropewalk {

// Holds oneDNN's OpenMP to the calling thread while it lives: a rank has one thread, and ranks may be threads of one
// process. OpenMP keeps this number per thread, so no other thread notices.
class SingleThread {
 public:
  SingleThread();
  ~SingleThread();
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  int before_;
};

enum class Transpose { kNo, kYes };

// A matrix in row-major memory whose rows are `stride` numbers apart.
struct Matrix {
  const float* data;
  int64_t stride;
  Transpose transpose = Transpose::kNo;
};

// c [rows, columns] = alpha a [rows, inner] b [inner, columns] + beta c, after a and b were transposed where they ask
// for it. c is not read where beta is 0. A SingleThread must live.
void sgemm(int64_t rows, int64_t columns, int64_t inner, float alpha, Matrix a, Matrix b, float beta, float* c,
           int64_t c_stride);

}  // namespace ropewalk
