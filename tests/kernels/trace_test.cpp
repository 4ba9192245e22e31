#include "kernels/trace.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kernels/make_kernels.h"
#include "kernels/trace.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

TEST(Trace, NotesNothingUnlessItRecords) {
  Trace trace;
  { const Trace::Scope nowhere(nullptr, "a", "phase"), unrecorded(&trace, "b", "phase"); }
  EXPECT_TRUE(trace.spans().empty());
  trace.record(true);
  { const Trace::Scope recorded(&trace, "c", "phase"); }
  ASSERT_EQ(trace.spans().size(), 1u);
  EXPECT_EQ(trace.spans()[0].name, "c");
  EXPECT_LE(trace.spans()[0].begin, trace.spans()[0].end);
  EXPECT_GE(trace.spans()[0].cpu_seconds, 0);
}

TEST(Trace, TellsAMarkerWhetherItRecordsOrNot) {
  struct Told : RangeMarker {
    void push(const char* name) override { text += std::string("(") + name; }
    void pop() override { text += ")"; }
    std::string text;
  } told;
  Trace trace;
  trace.set_marker(&told);
  {
    const Trace::Scope outer(&trace, "a", "phase");
    trace.record(true);
    { const Trace::Scope inner(&trace, "b", "kernel"); }
    const Trace::Scope last(&trace, "c", "communication", "sequence");
  }
  EXPECT_EQ(told.text, "(a(b)(c on sequence))");
  EXPECT_EQ(trace.spans().size(), 2u);  // a span that began before recording is not added
}

// A device whose moments are a second apart, and which notes the last moment that was read.
struct SlowDevice : DeviceTimeline {
  void record(bool on) override { recording = on; }
  DeviceMoment moment() override {
    return [this, at = ++given] {
      asked = std::max(asked, at);
      return 100.0 + at;
    };
  }
  bool recording = false;
  int given = 0, asked = 0;
};

TEST(Trace, TellsWhenTheDeviceWasAtWork) {
  SlowDevice device;
  Trace trace;
  trace.set_timeline(&device);
  { const Trace::Scope unrecorded(&trace, "a", "phase"); }
  EXPECT_EQ(device.given, 0);
  trace.record(true);
  EXPECT_TRUE(device.recording);
  {
    const Trace::Scope outer(&trace, "block 0 forward", "phase");
    const Trace::Scope inner(&trace, "add", "kernel");
  }
  TraceSpan sum{"reduce_scatter on gradient", Trace::kInFlight, 1, 1, 0, 0, 0, "gradient", 64};
  sum.on_device = {[] { return 102.5; }, [] { return 107.5; }};
  trace.add(sum);
  trace.add(
      {"start_exchange", "communication", 3, 4, 0, 0, 0, "gradient", 64, {[] { return 5.0; }, [] { return 5.0; }}});
  trace.record(false);
  EXPECT_FALSE(device.recording);
  EXPECT_EQ(device.asked, 0) << "recording must not wait for the device";

  std::ostringstream out;
  trace.write_json(out, 0, "node1", 100);
  const nlohmann::json events = nlohmann::json::parse(out.str())["traceEvents"];
  std::map<std::string, std::pair<double, double>> on_device, in_flight;
  int on_host = 0;
  for (const auto& event : events) {
    if (event["ph"] == "X" && event["tid"] == 1) on_device[event["name"]] = {event["ts"], event["dur"]};
    if (event["ph"] == "X" && event["tid"] == 0) ++on_host;
    if (event["ph"] == "b") in_flight[event["name"]].first = event["ts"];
    if (event["ph"] == "e") in_flight[event["name"]].second = event["ts"];
  }
  EXPECT_EQ(on_host, 3);
  EXPECT_EQ(on_device.size(), 2u) << "a span without device time must not be written";
  EXPECT_EQ(on_device["block 0 forward"], std::pair(1e6, 3e6));
  EXPECT_EQ(on_device["add"], std::pair(2e6, 1e6));
  EXPECT_EQ(in_flight["reduce_scatter on gradient"], std::pair(2.5e6, 7.5e6));
}

TEST(Trace, IsTheTraceEventFormat) {
  Trace trace;
  TraceSpan product{"linear_forward", "kernel", 10.5, 10.75, 0.125, 3e9, 0, "", 0};
  TraceSpan exchange{"exchange on sequence", Trace::kInFlight, 10.25, 11, 0, 0, 0, "sequence", 4096};
  trace.add(product);
  trace.add(exchange);
  std::ostringstream out;
  trace.write_json(out, 3, "node1", 10);
  const nlohmann::json events = nlohmann::json::parse(out.str())["traceEvents"];
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0]["args"]["name"], "rank 3 on node1");
  EXPECT_EQ(events[1]["ph"], "X");
  EXPECT_EQ(events[1]["pid"], 3);
  EXPECT_EQ(events[1]["ts"], 500000);
  EXPECT_EQ(events[1]["dur"], 250000);
  EXPECT_EQ(events[1]["args"]["gflop"], 3);
  EXPECT_EQ(events[2]["ph"], "b");
  EXPECT_EQ(events[3]["ph"], "e");
  EXPECT_EQ(events[2]["id"], events[3]["id"]);
  EXPECT_EQ(events[3]["ts"], 1000000);
  EXPECT_EQ(events[2]["args"]["bytes"], 4096);
  EXPECT_EQ(events[2]["args"]["axis"], "sequence");
}

TEST(Kernels, NoteCallsInATraceAndCountTheirWork) {
  Trace trace;
  trace.record(true);
  const auto kernels = make_kernels(BackendKind::kReferenceF64);
  kernels->set_trace(&trace);
  std::vector<double> x = normal_values(6, "x"), w = normal_values(12, "w"), y(8), q = normal_values(20, "q"), o(20),
                      lse(10);
  kernels->linear_forward(tensor_of(x, {2, 3}), tensor_of(w, {4, 3}), tensor_of(y, {2, 4}), Write::kSet);
  AttentionSpan span;
  span.window = 2;
  kernels->attention_forward(tensor_of(q, {5, 2, 2}), tensor_of(q, {5, 2, 2}), tensor_of(q, {5, 2, 2}), span,
                             tensor_of(o, {5, 2, 2}), tensor_of(lse, {5, 2}));
  ASSERT_EQ(trace.spans().size(), 2u);
  EXPECT_EQ(trace.spans()[0].name, "linear_forward");
  EXPECT_EQ(trace.spans()[0].flops, 2 * 2 * 3 * 4);
  EXPECT_EQ(trace.spans()[1].flops, 4 * 9 * 2 * 2);  // 1 + 2 + 2 + 2 + 2 pairs, two heads of size two
}

}  // namespace
}  // namespace ropewalk
