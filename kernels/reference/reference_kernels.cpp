#include "kernels/reference/reference_kernels.h"

namespace ropewalk {

template class ReferenceKernels<float>;
template class ReferenceKernels<double>;

}  // namespace ropewalk
