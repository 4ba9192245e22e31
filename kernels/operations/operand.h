// The checks that Kernels makes before it calls the backend: operands that break the contract in kernels.h fail CHECK.
#pragma once

#include <initializer_list>

#include "kernels/kernels.h"

namespace ropewalk {

// `name` is the operation and the operand, as in "add: a", for the message.
void check_operand(const Kernels& kernels, const char* name, const Tensor& x, DType dtype, const Shape& shape);
// Any shape; fp32, fp64 or bf16.
void check_floating(const Kernels& kernels, const char* name, const Tensor& x);
// Checks the number of axes. Call it before reading extents.
void check_rank(const char* name, const Tensor& x, int rank);
// Checks that `output` overlaps no input. With InPlace::kAllowed it may also be exactly the memory of an input.
enum class InPlace { kNever, kAllowed };
void check_apart(const char* name, const Tensor& output, std::initializer_list<Tensor> inputs,
                 InPlace in_place = InPlace::kNever);

}  // namespace ropewalk
