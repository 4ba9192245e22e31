// The backend that a test program of these suites tests, in one or several forms: other kernels or instructions for the
// same operations. ../cuda/under_test.cpp and ../cpu/under_test.cpp define these functions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/make_kernels.h"

namespace ropewalk {

std::vector<std::string> forms_under_test();            // of all operations but attention
std::vector<std::string> attention_forms_under_test();  // of attention
BackendLimits limits_under_test();

// The reason why this host cannot run a form; empty if it can.
std::string why_not_under_test(const std::string& form);
// On the cpu backend, all kernels of the process use this form's instruction set from then on.
std::unique_ptr<Kernels> make_under_test(const std::string& form);

}  // namespace ropewalk
