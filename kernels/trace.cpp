#include "kernels/trace.h"

#include <fmt/format.h>

#include <exception>
#include <utility>

#include "kernels/clock.h"

namespace ropewalk {

Trace::Scope::Scope(Trace* trace, std::string name, std::string_view kind, std::string axis)
    : trace_(trace && trace->recording() ? trace : nullptr), marker_(trace ? trace->marker_ : nullptr) {
  if (marker_) marker_->push(axis.empty() ? name.c_str() : fmt::format("{} on {}", name, axis).c_str());
  if (!trace_) return;
  span_.name = std::move(name);
  span_.kind = kind;
  span_.axis = std::move(axis);
  span_.begin = steady_seconds();
  span_.cpu_seconds = -thread_cpu_seconds();
  span_.on_device.begin = trace_->device_moment();
}

Trace::Scope::~Scope() {
  if (marker_) marker_->pop();
  if (!trace_) return;
  span_.on_device.end = trace_->device_moment();
  span_.cpu_seconds += thread_cpu_seconds();
  span_.end = steady_seconds();
  trace_->spans_.push_back(std::move(span_));
}

// Empty if the device has failed: the next use of the device reports the error.
DeviceMoment Trace::device_moment() const noexcept {
  try {
    return timeline_ ? timeline_->moment() : DeviceMoment();
  } catch (const std::exception&) {
    return {};
  }
}

void Trace::record(bool on) {
  recording_ = on;
  if (timeline_) timeline_->record(on);
}

namespace {

constexpr int kHost = 0, kDevice = 1;  // thread ids in the file

class JsonEvents {
 public:
  JsonEvents(std::ostream& out, int rank, double origin) : out_(out), rank_(rank), origin_(origin) {}

  void name(const char* what, int thread, const std::string& text) {
    next(fmt::format(R"("ph":"M","name":"{}","pid":{},"tid":{},"args":{{"name":"{}"}})", what, rank_, thread, text));
  }
  void complete(const TraceSpan& span, int thread, double begin, double end) {
    const std::string cpu = thread == kHost ? fmt::format(R"("tdur":{:.3f},)", 1e6 * span.cpu_seconds) : "";
    next(fmt::format(R"("ph":"X","ts":{:.3f},"dur":{:.3f},{}{})", microseconds(begin), 1e6 * (end - begin), cpu,
                     common(span, thread)));
  }
  void in_flight(const TraceSpan& span, double begin, double end) {
    ++id_;
    for (const auto& [phase, at] : {std::pair{"b", begin}, {"e", end}})
      next(fmt::format(R"("ph":"{}","id":{},"ts":{:.3f},{})", phase, id_, microseconds(at), common(span, kHost)));
  }

 private:
  double microseconds(double seconds) const { return 1e6 * (seconds - origin_); }
  std::string common(const TraceSpan& span, int thread) const {
    std::string arguments;
    if (span.flops > 0) arguments = fmt::format(R"("gflop":{:.6g})", 1e-9 * span.flops);
    if (!span.axis.empty()) arguments = fmt::format(R"("axis":"{}","bytes":{})", span.axis, span.bytes);
    return fmt::format(R"("name":"{}","cat":"{}","pid":{},"tid":{},"args":{{{}}})", span.name, span.kind, rank_, thread,
                       arguments);
  }
  void next(const std::string& event) { out_ << (std::exchange(first_, false) ? "{" : ",\n{") << event << "}"; }

  std::ostream& out_;
  int rank_;
  double origin_;
  int64_t id_ = 0;
  bool first_ = true;
};

}  // namespace

void Trace::write_json(std::ostream& out, int rank, const std::string& host, double origin) const {
  out << "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
  JsonEvents events(out, rank, origin);
  events.name("process_name", kHost, fmt::format("rank {} on {}", rank, host));
  if (timeline_) {
    events.name("thread_name", kHost, "host");
    events.name("thread_name", kDevice, "device");
  }
  for (const TraceSpan& span : spans_) {
    const bool on_device = span.on_device.begin && span.on_device.end;
    const double begin = on_device ? span.on_device.begin() : span.begin;
    const double end = on_device ? span.on_device.end() : span.end;
    if (span.kind == kInFlight) {
      events.in_flight(span, begin, end);
      continue;
    }
    events.complete(span, kHost, span.begin, span.end);
    if (on_device && end > begin) events.complete(span, kDevice, begin, end);
  }
  out << "\n]}\n";
}

}  // namespace ropewalk
