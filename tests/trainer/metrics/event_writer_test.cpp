#include "trainer/metrics/event_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "configs/events.pb.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/metrics/full_disk.h"

namespace ropewalk {
namespace {

std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

// The records of the file, split by their lengths alone: the golden bytes below test the checksums.
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
  const TemporaryDirectory scratch;
  double now = 1700000000.0;
  EventWriter writer(scratch.path() / "events", 0, [&] { return now++; });
  now = 1700000001.0;
  writer.scalars(7, std::vector<std::pair<std::string, double>>{{"loss", 2.5}});
  writer.flush();
  EXPECT_EQ(read_file(writer.path()).substr(40),
            from_hex("1a00000000000000129bd82d0900004040fc54d94110072a0d0a0b0a046c6f7373150000204037efed96"));
}

TEST(EventWriter, BeginsWithTheVersion) {
  const TemporaryDirectory scratch;
  EventWriter writer(scratch.path(), 0, [] { return 1700000000.0; });
  writer.flush();
  EXPECT_EQ(read_file(writer.path()),
            from_hex("1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d"));
  EXPECT_TRUE(writer.path().filename().string().starts_with("events.out.tfevents.1700000000."));
}

// What TensorBoard shows for the files of a directory, by the rules of its EventAccumulator: it reads files in the
// order of their names. The first START begins the run; each later START discards the events of its step and later
// steps.
std::vector<std::pair<int64_t, float>> shown_in(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::pair<int64_t, float>> shown;
  bool started = false;
  for (const auto& path : paths) {
    for (const events::Event& event : events_in(path)) {
      if (event.session_log().status() == events::SessionLog::START) {
        if (started) std::erase_if(shown, [&](const auto& point) { return point.first >= event.step(); });
        started = true;
      }
      if (event.has_summary()) shown.emplace_back(event.step(), event.summary().value(0).simple_value());
    }
  }
  return shown;
}

// A run whose loss is `loss`, from the step after `resumed` to step `last`.
void run_of(const std::filesystem::path& directory, int64_t resumed, int64_t last, double loss, double time) {
  EventWriter writer(directory, resumed, [&] { return time; });
  for (int64_t step = resumed + 1; step <= last; ++step)
    writer.scalars(step, std::vector<std::pair<std::string, double>>{{"loss", loss}});
  writer.flush();
}

TEST(EventWriter, ARunThatGoesOnVoidsWhatWasGivenUp) {
  for (const double later : {+3600.0, 0.0, -3600.0}) {  // the clock may be set back between starts
    const TemporaryDirectory scratch;
    run_of(scratch.path(), 0, 4, 1, 1e9);
    run_of(scratch.path(), 2, 4, 2, 1e9 + later);  // the first restart, too
    const std::vector<std::pair<int64_t, float>> resumed = {{1, 1}, {2, 1}, {3, 2}, {4, 2}};
    EXPECT_EQ(shown_in(scratch.path()), resumed) << later;
    run_of(scratch.path(), 0, 2, 3, 1e9 + 2 * later);  // a run from step 0 again
    const std::vector<std::pair<int64_t, float>> anew = {{1, 3}, {2, 3}};
    EXPECT_EQ(shown_in(scratch.path()), anew) << later;
    run_of(scratch.path(), 1, 2, 4, 1e9 + 3 * later);
    const std::vector<std::pair<int64_t, float>> again = {{1, 3}, {2, 4}};
    EXPECT_EQ(shown_in(scratch.path()), again) << later;
  }
}

TEST(EventWriter, NamesNeverGoBackWhateverIsThere) {
  const TemporaryDirectory scratch;
  for (const char* name : {"events.out.tfevents.0000000007.a.1.0", "events.out.tfevents.2000000000.b", "notes.txt",
                           "events.out.tfevents.99999999999999999999.c", "events.out.tfevents.x"})
    write_file(scratch.path() / name, "");
  const EventWriter writer(scratch.path(), 0, [] { return 1e9; });
  EXPECT_TRUE(writer.path().filename().string().starts_with("events.out.tfevents.2000000001.")) << writer.path();
}

TEST(EventWriter, TextIsShownAsItIs) {
  const TemporaryDirectory scratch;
  EventWriter writer(scratch.path(), 0);
  writer.text(3, "sample", "# no heading\nsecond \x1b[31m line \xff");
  writer.flush();
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
  const TemporaryDirectory scratch;
  EventWriter writer(scratch.path(), 0);
  writer.scalars(1, std::vector<std::pair<std::string, double>>{{"a", NAN}, {"b", 1e300}});
  writer.flush();
  const events::Event event = events_in(writer.path()).at(1);
  EXPECT_TRUE(std::isnan(event.summary().value(0).simple_value()));
  EXPECT_TRUE(std::isinf(event.summary().value(1).simple_value()));
}

TEST(EventWriter, SaysWhichDirectoryCannotBeWritten) {
  const TemporaryDirectory scratch;
  write_file(scratch.path() / "file", "");
  EventWriter writer(scratch.path() / "file" / "events", 0);
  try {
    writer.flush();
    ADD_FAILURE() << "written";
  } catch (const FileError& error) {
    EXPECT_NE(std::string(error.what()).find((scratch.path() / "file").string()), std::string::npos) << error.what();
  }
}

TEST(EventWriter, AFullDiskLeavesWholeRecords) {
  const TemporaryDirectory scratch;
  EventWriter writer(scratch.path(), 0);
  writer.flush();
  const std::vector<std::pair<std::string, double>> values = {{"loss", 1}};
  {
    const FullDisk full(50);
    writer.scalars(1, values);
    EXPECT_THROW(writer.flush(), FileError);
    EXPECT_EQ(events_in(writer.path()).size(), 1u);
  }
  writer.scalars(2, values);
  writer.flush();
  EXPECT_EQ(events_in(writer.path()).at(1).step(), 1);  // was buffered
  EXPECT_EQ(events_in(writer.path()).at(2).step(), 2);
}

}  // namespace
}  // namespace ropewalk
