// Two kinds of errors. External causes (a file, a peer, a number in a configuration) throw one of the typed errors
// below, which say what is wrong, where, and what to do. A bug in this program fails CHECK, which says what broke.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace ropewalk {

// Exit codes of the program; documented in launch/README.md.
enum class ExitCode : int {
  kDone = 0,
  kFailure = 1,        // CHECK failed, or an untyped error: a bug in ropewalk
  kConfiguration = 2,  // command line or configuration
  kData = 3,           // a data file or tokenizer
  kCheckpoint = 4,     // a checkpoint could not be written or read
  kCommunication = 5,  // a peer died, a deadline passed, ranks disagreed
  kNumerical = 6,      // a loss or gradient that is not finite
  kDevice = 7,         // a device is missing or out of memory
  kStopped = 85,       // stopped by a signal, after writing a complete checkpoint
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

#define ROPEWALK_ERROR_TYPE(Name, code)                                 \
  struct Name : Error {                                                 \
    explicit Name(const std::string& message) : Error(code, message) {} \
  }
ROPEWALK_ERROR_TYPE(ConfigurationError, ExitCode::kConfiguration);
ROPEWALK_ERROR_TYPE(DataError, ExitCode::kData);
ROPEWALK_ERROR_TYPE(CheckpointError, ExitCode::kCheckpoint);
ROPEWALK_ERROR_TYPE(CommunicationError, ExitCode::kCommunication);
ROPEWALK_ERROR_TYPE(NumericalError, ExitCode::kNumerical);
ROPEWALK_ERROR_TYPE(DeviceError, ExitCode::kDevice);
#undef ROPEWALK_ERROR_TYPE
struct OutOfMemory : DeviceError {  // the device's memory, or the host's, is exhausted
  using DeviceError::DeviceError;
};

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& message);

}  // namespace ropewalk

// CHECK(condition, "format", args...): an invariant of the program. Throws std::logic_error with the message, which
// says what broke, with the values.
#define CHECK(condition, ...)                                                                               \
  do {                                                                                                      \
    if (!(condition)) ::ropewalk::check_failed(#condition, __FILE__, __LINE__, ::fmt::format(__VA_ARGS__)); \
  } while (false)
