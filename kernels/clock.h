// Time as a value, so that tests can hand in their own.
#pragma once

#include <functional>

namespace ropewalk {

using Clock = std::function<double()>;  // seconds

double unix_seconds();        // since 1970
double steady_seconds();      // since some moment; never goes back
double thread_cpu_seconds();  // that this thread has computed

}  // namespace ropewalk
