#include "kernels/trace.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>

namespace ropewalk {
namespace {

double steady_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double thread_cpu_now() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

Trace::Scope::Scope(Trace* trace, std::string name, const char* kind) : trace_(trace) {
  if (!trace_) return;
  span_.name = std::move(name);
  span_.kind = kind;
  span_.begin = steady_now();
  span_.cpu_seconds = -thread_cpu_now();
}

Trace::Scope::~Scope() {
  if (!trace_) return;
  span_.cpu_seconds += thread_cpu_now();
  span_.end = steady_now();
  trace_->spans_.push_back(std::move(span_));
}

void Trace::write_chrome_json(std::ostream& out, int rank, const std::string& host, double origin) const {
  out << fmt::format(
      "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
      "{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{0},\"args\":{{\"name\":\"rank {0} on {1}\"}}}}",
      rank, host);
  for (const TraceSpan& span : spans_) {
    out << fmt::format(
        ",\n{{\"ph\":\"X\",\"name\":\"{}\",\"cat\":\"{}\",\"pid\":{},\"tid\":0,\"ts\":{:.3f},\"dur\":{:.3f},"
        "\"tdur\":{:.3f},\"args\":{{",
        span.name, span.kind, rank, 1e6 * (span.begin - origin), 1e6 * (span.end - span.begin), 1e6 * span.cpu_seconds);
    if (span.flops > 0) out << fmt::format("\"gflops\":{:.6g}", 1e-9 * span.flops);
    if (!span.axis.empty()) out << fmt::format("\"axis\":\"{}\",\"bytes\":{}", span.axis, span.bytes);
    out << "}}";
  }
  out << "\n]}\n";
}

}  // namespace ropewalk
