// What a rank did, and when: a list of spans, for a few steps. Made into a file that Chrome's viewer and Perfetto read:
// Google's "Trace Event Format".
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// When a device came to a moment of its work: steady seconds, waited for when they are asked.
using DeviceMoment = std::function<double()>;

struct DeviceTime {
  DeviceMoment begin, end;  // both empty: no device's
};

struct TraceSpan {
  std::string name;           // an operation's, "all_gather", "block 3 forward"
  std::string_view kind;      // "kernel", "communication", "phase", or kInFlight
  double begin = 0, end = 0;  // steady seconds
  double cpu_seconds = 0;     // of this thread
  double flops = 0;           // of a kernel that is bound by arithmetic
  std::string axis;           // of communication: "sequence"
  int64_t bytes = 0;          // that communication sent
  DeviceTime on_device = {};  // of what the span has given a device to do; the rest is the host's
};

// Shows a device's profiler what the host is at: ranges that lie in each other.
class RangeMarker {
 public:
  virtual ~RangeMarker() = default;
  virtual void push(const char* name) = 0;
  virtual void pop() = 0;
};

// A device that works while the host goes on.
class DeviceTimeline {
 public:
  virtual ~DeviceTimeline() = default;
  virtual void record(bool on) = 0;   // moments have a time if they are noted while it records
  virtual DeviceMoment moment() = 0;  // when what the kernels have been given so far is done
};

class Trace {
 public:
  // Spans of messages on their way, beside what the rank itself does; they may overlap each other.
  static constexpr std::string_view kInFlight = "in flight";

  // Begins a span; it ends, and is added, when the scope does. Nothing is noted for a null trace, or one that does not
  // record; a marker is told in any case.
  class Scope {
   public:
    Scope(Trace* trace, std::string name, std::string_view kind, std::string axis = {});
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    TraceSpan* operator->() { return &span_; }
    void leave_out() { trace_ = nullptr; }

   private:
    Trace* trace_;         // null: nothing to note
    RangeMarker* marker_;  // null: nobody to tell
    TraceSpan span_;
  };

  bool recording() const { return recording_; }
  bool listens() const { return recording_ || marker_; }  // a scope would be noted, or shown
  void record(bool on);
  void set_marker(RangeMarker* marker) { marker_ = marker; }             // null: none
  void set_timeline(DeviceTimeline* timeline) { timeline_ = timeline; }  // likewise
  void add(TraceSpan span) { spans_.push_back(std::move(span)); }
  const std::vector<TraceSpan>& spans() const { return spans_; }
  void clear() { spans_.clear(); }

  // One process for each rank, with a thread for the host and, if it has one, its device; times from `origin` (steady
  // seconds) in microseconds. Waits for the device.
  void write_json(std::ostream& out, int rank, const std::string& host, double origin) const;

 private:
  DeviceMoment device_moment() const noexcept;

  std::vector<TraceSpan> spans_;
  bool recording_ = false;
  RangeMarker* marker_ = nullptr;
  DeviceTimeline* timeline_ = nullptr;
};

}  // namespace ropewalk
