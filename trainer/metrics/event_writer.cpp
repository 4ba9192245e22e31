#include "trainer/metrics/event_writer.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>

#include "configs/events.pb.h"
#include "parallel/communicator/host_name.h"
#include "trainer/files/crc32c.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian");

template <typename Integer>
std::string bytes_of(Integer value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr int64_t kLatest = 9999999998;  // the latest time after which one more fits in ten digits

// The time in the name of the newest event file in the directory; nullopt if there is none.
std::optional<int64_t> newest_in(const std::filesystem::path& directory) {
  std::optional<int64_t> newest;
  std::error_code unreadable;  // or not there yet; if it stays unreadable, the first flush reports that
  for (std::filesystem::directory_iterator entry(directory, unreadable), end; !unreadable && entry != end;
       entry.increment(unreadable)) {
    const std::string name = entry->path().filename().string();
    int64_t time = 0;
    if (!name.starts_with(kPrefix)) continue;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), time);
    newest = std::max(newest.value_or(0), std::min(time, kLatest));
  }
  return newest;
}

// Readers look for "tfevents" in file names and sort by name, so the time in it must increase from file to file. That
// also makes the name unique.
std::filesystem::path path_after(std::optional<int64_t> newest, const std::filesystem::path& directory,
                                 double unix_time) {
  const int64_t time = std::max(static_cast<int64_t>(unix_time), newest ? *newest + 1 : 0);
  return directory / fmt::format("{}{:010}.{}.{}.0", kPrefix, time, host_name(), getpid());
}

// TensorBoard renders text as Markdown; four leading blanks make a line code, which is shown verbatim.
std::string as_code(std::string_view sample) {
  std::string out = "    ";
  for (char c : printable_text(sample)) {
    out += c;
    if (c == '\n') out += "    ";
  }
  return out;
}

}  // namespace

EventWriter::EventWriter(const std::filesystem::path& directory, int64_t resumed_step, Clock unix_time,
                         FileSystem& system)
    : EventWriter(directory, newest_in(directory), resumed_step, std::move(unix_time), system) {}

EventWriter::EventWriter(const std::filesystem::path& directory, std::optional<int64_t> newest, int64_t resumed_step,
                         Clock unix_time, FileSystem& system)
    : unix_time_(std::move(unix_time)), file_(path_after(newest, directory, unix_time_()), system) {
  events::Event version;
  version.set_file_version("brain.Event:2");
  add(version);
  if (!newest) return;
  // Twice: TensorBoard takes the first START that it reads for the beginning of the run, and discards nothing then.
  for (int i = 0; i < 2; ++i) {
    events::Event start;
    start.set_step(resumed_step + 1);
    start.mutable_session_log()->set_status(events::SessionLog::START);
    add(start);
  }
}

void EventWriter::scalars(int64_t step, std::span<const std::pair<std::string, double>> values) {
  events::Event event;
  event.set_step(step);
  for (const auto& [tag, number] : values) {
    events::Summary::Value* value = event.mutable_summary()->add_value();
    value->set_tag(tag);
    value->set_simple_value(static_cast<float>(number));
  }
  add(event);
}

void EventWriter::text(int64_t step, std::string_view tag, std::string_view sample) {
  events::Event event;
  event.set_step(step);
  events::Summary::Value* value = event.mutable_summary()->add_value();
  value->set_tag(std::string(tag));
  value->mutable_metadata()->mutable_plugin_data()->set_plugin_name("text");
  value->mutable_metadata()->set_data_class(events::Metadata::TENSOR);
  value->mutable_tensor()->set_dtype(events::Tensor::STRING);
  value->mutable_tensor()->mutable_tensor_shape()->add_dim()->set_size(1);
  value->mutable_tensor()->add_string_val(as_code(sample));
  add(event);
}

void EventWriter::add(events::Event& event) {
  event.set_wall_time(unix_time_());
  const std::string data = event.SerializeAsString();
  const std::string length = bytes_of(static_cast<uint64_t>(data.size()));
  file_.add(length + bytes_of(masked_crc(length)) + data + bytes_of(masked_crc(data)));
}

}  // namespace ropewalk
