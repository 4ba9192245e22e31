// What a rank did, and when: a list of spans, recorded for a few steps and written in Google's "Trace Event Format",
// which Chrome's trace viewer and Perfetto read.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// Returns the time (steady seconds) at which the device reached a recorded event. The call waits for the event.
using DeviceMoment = std::function<double()>;

struct DeviceTime {
  DeviceMoment begin, end;  // both empty: the span has no device work
};

struct TraceSpan {
  std::string name;           // "linear_forward", "all_gather", "block 3 forward"
  std::string_view kind;      // "kernel", "communication", "phase", or kInFlight
  double begin = 0, end = 0;  // steady seconds
  double cpu_seconds = 0;     // CPU time of this thread
  double flops = 0;           // of a compute-bound kernel; otherwise 0
  double memory_bytes = 0;    // read and written by a memory-bound kernel; otherwise 0
  std::string axis;           // mesh axis of communication, such as "sequence"
  int64_t bytes = 0;          // sent by communication
  DeviceTime on_device = {};  // of the device work launched in the span; all other times are the host's
};

// Passes the names of the host's current work to a device's profiler, as nested ranges (NVTX).
class RangeMarker {
 public:
  virtual ~RangeMarker() = default;
  virtual void push(const char* name) = 0;
  virtual void pop() = 0;
};

// Timestamps of a device that works asynchronously to the host.
class DeviceTimeline {
 public:
  virtual ~DeviceTimeline() = default;
  virtual void record(bool on) = 0;   // moments that are taken while it is off are empty
  virtual DeviceMoment moment() = 0;  // when all work launched so far is done
};

class Trace {
 public:
  // The kind of the spans of outstanding transfers, which may overlap each other and the rank's own work.
  static constexpr std::string_view kInFlight = "in flight";

  // A span from constructor to destructor, which adds it to the trace. Nothing is added if the trace is null or not
  // recording. The trace's RangeMarker, if any, is called even when the trace is not recording.
  class Scope {
   public:
    Scope(Trace* trace, std::string name, std::string_view kind, std::string axis = {});
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    TraceSpan* operator->() { return &span_; }
    void leave_out() { trace_ = nullptr; }  // does not add the span

   private:
    Trace* trace_;         // null: adds nothing
    RangeMarker* marker_;  // null: none
    TraceSpan span_;
  };

  bool recording() const { return recording_; }
  bool listens() const { return recording_ || marker_; }  // a scope would add a span or call the marker
  void record(bool on);
  void set_marker(RangeMarker* marker) { marker_ = marker; }             // null: none
  void set_timeline(DeviceTimeline* timeline) { timeline_ = timeline; }  // likewise
  void add(TraceSpan span) { spans_.push_back(std::move(span)); }
  const std::vector<TraceSpan>& spans() const { return spans_; }
  void clear() { spans_.clear(); }

  // Writes this rank as one process, with a thread for the host and, if there is one, a thread for the device. Times
  // are microseconds since `origin` (steady seconds). Waits for the device.
  void write_json(std::ostream& out, int rank, const std::string& host, double origin) const;

 private:
  DeviceMoment device_moment() const noexcept;

  std::vector<TraceSpan> spans_;
  bool recording_ = false;
  RangeMarker* marker_ = nullptr;
  DeviceTimeline* timeline_ = nullptr;
};

}  // namespace ropewalk
