#include "trainer/metrics/event_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "configs/events.pb.h"
#include "kernels/error.h"
#include "tests/trainer/metrics/scratch.h"

namespace ropewalk {
namespace {

std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

// Frames of the file, by their lengths alone: the golden bytes below prove the checksums.
std::vector<events::Event> events_in(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  std::vector<events::Event> out;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length;
    if (at + 12 > bytes.size()) throw std::runtime_error("half a header");
    std::memcpy(&length, bytes.data() + at, 8);
    if (at + 12 + length + 4 > bytes.size()) throw std::runtime_error("half a record");
    if (!out.emplace_back().ParseFromString(bytes.substr(at + 12, length))) throw std::runtime_error("not an event");
    at += 12 + length + 4;
  }
  return out;
}

// Two records computed with TensorBoard's own protobuf definitions and CRC-32C.
TEST(EventWriter, WritesTheGoldenBytes) {
  const ScratchDirectory scratch;
  double now = 1700000000.0;
  EventWriter writer(scratch.path() / "events", 0, [&] { return now++; });
  now = 1700000001.0;
  writer.scalars(7, std::vector<std::pair<std::string, double>>{{"loss", 2.5}});
  EXPECT_EQ(read_file(writer.path()).substr(40),
            from_hex("1a00000000000000129bd82d0900004040fc54d94110072a0d0a0b0a046c6f7373150000204037efed96"));
}

TEST(EventWriter, BeginsWithTheVersion) {
  const ScratchDirectory scratch;
  EventWriter writer(scratch.path(), 0, [] { return 1700000000.0; });
  EXPECT_EQ(read_file(writer.path()),
            from_hex("1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d"));
  EXPECT_TRUE(writer.path().filename().string().starts_with("events.out.tfevents.1700000000."));
}

TEST(EventWriter, AResumedRunVoidsLaterSteps) {
  const ScratchDirectory scratch;
  EventWriter first(scratch.path(), 0, [] { return 5.0; });
  EventWriter second(scratch.path(), 30, [] { return 5.0; });
  EXPECT_NE(first.path(), second.path());
  const std::vector<events::Event> events = events_in(second.path());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  EXPECT_EQ(events[1].session_log().status(), events::SessionLog::START);
  EXPECT_EQ(events[1].step(), 31) << "TensorBoard drops the events of this step and later ones";
  EXPECT_EQ(events_in(first.path()).size(), 1u);
}

TEST(EventWriter, TextIsShownAsItIs) {
  const ScratchDirectory scratch;
  EventWriter writer(scratch.path(), 0);
  writer.text(3, "sample", "# no heading\nsecond \x1b[31m line \xff");
  const events::Event event = events_in(writer.path()).at(1);
  const events::Summary::Value& value = event.summary().value(0);
  EXPECT_EQ(event.step(), 3);
  EXPECT_EQ(value.tag(), "sample");
  EXPECT_EQ(value.metadata().plugin_data().plugin_name(), "text");
  EXPECT_EQ(value.metadata().data_class(), events::Metadata::TENSOR);
  EXPECT_EQ(value.tensor().dtype(), events::Tensor::STRING);
  EXPECT_EQ(value.tensor().string_val(0), "    # no heading\n    second \xef\xbf\xbd[31m line \xef\xbf\xbd");
}

TEST(EventWriter, KeepsWhatIsNotFinite) {
  const ScratchDirectory scratch;
  EventWriter writer(scratch.path(), 0);
  writer.scalars(1, std::vector<std::pair<std::string, double>>{{"a", NAN}, {"b", 1e300}});
  const events::Event event = events_in(writer.path()).at(1);
  EXPECT_TRUE(std::isnan(event.summary().value(0).simple_value()));
  EXPECT_TRUE(std::isinf(event.summary().value(1).simple_value()));
}

TEST(EventWriter, SaysWhichDirectoryCannotBeWritten) {
  const ScratchDirectory scratch;
  write_file(scratch.path() / "file", "");
  EXPECT_THROW(EventWriter(scratch.path() / "file" / "events", 0), ConfigurationError);
}

TEST(EventWriter, AFullDiskLeavesWholeRecords) {
  const ScratchDirectory scratch;
  EventWriter writer(scratch.path(), 0);
  const std::vector<std::pair<std::string, double>> values = {{"loss", 1}};
  {
    const FullDisk full(50);
    EXPECT_THROW(writer.scalars(1, values), DataError);
    EXPECT_EQ(events_in(writer.path()).size(), 1u);
  }
  writer.scalars(2, values);
  EXPECT_EQ(events_in(writer.path()).at(1).step(), 1);  // has waited
  EXPECT_EQ(events_in(writer.path()).at(2).step(), 2);
}

}  // namespace
}  // namespace ropewalk
