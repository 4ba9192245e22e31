// Checks of an operation's operands against their contract in kernels.h, by Kernels before it calls the backend.
#pragma once

#include <initializer_list>

#include "kernels/kernels.h"

namespace ropewalk {

// `name` says which operand of which operation, as in "add: a".
void check_operand(const Kernels& kernels, const char* name, const Tensor& x, DType dtype, const Shape& shape);
// Any shape, fp32, fp64 or bf16.
void check_floating(const Kernels& kernels, const char* name, const Tensor& x);
// The number of axes, before its extents are read.
void check_rank(const char* name, const Tensor& x, int rank);
// `output` overlaps none of the inputs, unless it is that very input and `in_place` allows it.
enum class InPlace { kNever, kAllowed };
void check_apart(const char* name, const Tensor& output, std::initializer_list<Tensor> inputs,
                 InPlace in_place = InPlace::kNever);

}  // namespace ropewalk
