// TensorBoard's event file, written natively: records of protobuf messages (configs/events.proto), each framed as
//     u64 length,  u32 mask(crc32c(length bytes)),  data,  u32 mask(crc32c(data)),     all little-endian,
//     mask(c) = rotate_right(c, 15) + 0xa282ead8.
// (tensorflow/tensorboard, summary/writer/record_writer.py and compat/proto/event.proto.)
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/clock.h"
#include "trainer/files/append_file.h"

namespace ropewalk {

namespace events {
class Event;
}

class EventWriter {
 public:
  // A new file in `directory`; its name sorts after those of the existing event files, even if the clock was set back.
  // It tells TensorBoard to discard what they contain for steps after `resumed_step` (0: a run from its start).
  EventWriter(const std::filesystem::path& directory, int64_t resumed_step, Clock unix_time = unix_seconds,
              FileSystem& system = real_file_system());

  // Each call buffers one record.
  void scalars(int64_t step, std::span<const std::pair<std::string, double>> values);
  void text(int64_t step, std::string_view tag, std::string_view sample);  // shown verbatim, not as Markdown
  // flush() writes the buffered records; sync() also fsyncs them. They throw FileError; unwritten records then stay
  // buffered, and a half-written one is cut off at once or by the next call.
  void flush() { file_.flush(); }
  void sync() { file_.sync(); }
  int64_t lost() const { return file_.lost(); }  // records that were dropped because the buffer was full

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  EventWriter(const std::filesystem::path& directory, std::optional<int64_t> newest, int64_t resumed_step,
              Clock unix_time, FileSystem& system);
  void add(events::Event& event);  // sets the event's time, and buffers it

  Clock unix_time_;
  AppendFile file_;
};

}  // namespace ropewalk
