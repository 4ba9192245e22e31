// Clocks as values, so that tests can supply their own.
#pragma once

#include <functional>

namespace ropewalk {

using Clock = std::function<double()>;  // seconds

double unix_seconds();        // since 1970
double steady_seconds();      // since an arbitrary moment; never decreases
double thread_cpu_seconds();  // CPU time of the calling thread

}  // namespace ropewalk
