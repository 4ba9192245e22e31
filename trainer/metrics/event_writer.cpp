#include "trainer/metrics/event_writer.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <cstring>

#include "configs/events.pb.h"
#include "kernels/error.h"
#include "trainer/crc32c.h"
#include "trainer/metrics/text.h"

namespace ropewalk {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian");

template <typename Integer>
std::string bytes_of(Integer value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

// A name that no other writer has: readers ask for "tfevents" in it and sort by the time.
std::filesystem::path unused_path(const std::filesystem::path& directory, double unix_time) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) std::strcpy(host.data(), "host");
  for (int count = 0;; ++count) {
    const auto seconds = static_cast<int64_t>(unix_time);
    const std::filesystem::path path =
        directory / fmt::format("events.out.tfevents.{:010}.{}.{}.{}", seconds, host.data(), getpid(), count);
    if (std::error_code unknown; !std::filesystem::exists(path, unknown)) return path;
  }
}

// TensorBoard renders text as Markdown; four leading blanks make a line code, shown as it is.
std::string as_code(std::string_view sample) {
  std::string out = "    ";
  for (char c : printable_text(sample)) {
    out += c;
    if (c == '\n') out += "    ";
  }
  return out;
}

}  // namespace

EventWriter::EventWriter(const std::filesystem::path& directory, int64_t resumed_step, Clock unix_time)
    : unix_time_(std::move(unix_time)), file_(unused_path(directory, unix_time_())) {
  events::Event version;
  version.set_file_version("brain.Event:2");
  append(version);
  if (resumed_step > 0) {
    events::Event start;
    start.set_step(resumed_step + 1);
    start.mutable_session_log()->set_status(events::SessionLog::START);
    append(start);
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
  append(event);
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
  append(event);
}

void EventWriter::append(events::Event& event) {
  event.set_wall_time(unix_time_());
  const std::string data = event.SerializeAsString();
  const std::string length = bytes_of(static_cast<uint64_t>(data.size()));
  file_.append(length + bytes_of(masked_crc(length)) + data + bytes_of(masked_crc(data)));
}

}  // namespace ropewalk
