#include "kernels/trace.h"

#include <fmt/format.h>

#include "kernels/clock.h"

namespace ropewalk {

Trace::Scope::Scope(Trace* trace, std::string name, std::string_view kind)
    : trace_(trace && trace->recording() ? trace : nullptr), marker_(trace ? trace->marker_ : nullptr) {
  if (marker_) marker_->push(name.c_str());
  if (!trace_) return;
  span_.name = std::move(name);
  span_.kind = kind;
  span_.begin = steady_seconds();
  span_.cpu_seconds = -thread_cpu_seconds();
}

Trace::Scope::~Scope() {
  if (marker_) marker_->pop();
  if (!trace_) return;
  span_.cpu_seconds += thread_cpu_seconds();
  span_.end = steady_seconds();
  trace_->spans_.push_back(std::move(span_));
}

void Trace::write_json(std::ostream& out, int rank, const std::string& host, double origin) const {
  const auto microseconds = [&](double seconds) { return 1e6 * (seconds - origin); };
  out << fmt::format(
      "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
      "{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{0},\"args\":{{\"name\":\"rank {0} on {1}\"}}}}",
      rank, host);
  int64_t id = 0;
  for (const TraceSpan& span : spans_) {
    std::string arguments;
    if (span.flops > 0) arguments = fmt::format("\"gflop\":{:.6g}", 1e-9 * span.flops);
    if (!span.axis.empty()) arguments = fmt::format("\"axis\":\"{}\",\"bytes\":{}", span.axis, span.bytes);
    const std::string common = fmt::format("\"name\":\"{}\",\"cat\":\"{}\",\"pid\":{},\"tid\":0,\"args\":{{{}}}",
                                           span.name, span.kind, rank, arguments);
    if (span.kind == kInFlight) {
      ++id;
      out << fmt::format(",\n{{\"ph\":\"b\",\"id\":{},\"ts\":{:.3f},{}}}", id, microseconds(span.begin), common)
          << fmt::format(",\n{{\"ph\":\"e\",\"id\":{},\"ts\":{:.3f},{}}}", id, microseconds(span.end), common);
    } else {
      out << fmt::format(",\n{{\"ph\":\"X\",\"ts\":{:.3f},\"dur\":{:.3f},\"tdur\":{:.3f},{}}}",
                         microseconds(span.begin), 1e6 * (span.end - span.begin), 1e6 * span.cpu_seconds, common);
    }
  }
  out << "\n]}\n";
}

}  // namespace ropewalk
