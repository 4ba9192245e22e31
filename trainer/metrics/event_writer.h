// TensorBoard's event file, written natively: records of protobuf messages (configs/events.proto), each framed as
//     u64 length,  u32 mask(crc32c(length bytes)),  data,  u32 mask(crc32c(data)),     all little-endian,
//     mask(c) = rotate_right(c, 15) + 0xa282ead8.
// (tensorflow/tensorboard, summary/writer/record_writer.py and compat/proto/event.proto.)
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/clock.h"
#include "trainer/metrics/append_file.h"

namespace ropewalk {

namespace events {
class Event;
}

class EventWriter {
 public:
  // A new file in `directory`, which is made if it is not there. A run that goes on after step `resumed_step` > 0 tells
  // TensorBoard to forget what an interrupted run wrote about later steps. Throws ConfigurationError.
  EventWriter(const std::filesystem::path& directory, int64_t resumed_step, Clock unix_time = unix_seconds);

  // Each call is one record, in the file when it returns. Throw DataError (a full disk); the file then ends with a
  // whole record.
  void scalars(int64_t step, std::span<const std::pair<std::string, double>> values);
  void text(int64_t step, std::string_view tag, std::string_view sample);  // shown as it is, not as Markdown

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  void append(events::Event& event);  // stamped with the time

  Clock unix_time_;
  AppendFile file_;
};

}  // namespace ropewalk
