// The names of what a communicator does, for logs, error messages and the tags of messages.
#pragma once

#include <cstdint>

namespace ropewalk {

enum class Operation : uint8_t { kExchange, kAllReduce, kReduceScatter, kAllGather, kBroadcast, kBarrier, kSplit };

constexpr const char* name_of(Operation operation) {
  switch (operation) {
    case Operation::kExchange:
      return "exchange";
    case Operation::kAllReduce:
      return "all_reduce";
    case Operation::kReduceScatter:
      return "reduce_scatter";
    case Operation::kAllGather:
      return "all_gather";
    case Operation::kBroadcast:
      return "broadcast";
    case Operation::kBarrier:
      return "barrier";
    case Operation::kSplit:
      return "split";
  }
  return "?";
}

// Which call of a communicator a message belongs to. Every rank of a group makes the same calls in the same order, so
// the sequence number is the same on both ends of a message.
struct OperationLabel {
  Operation operation;
  int64_t sequence;
  bool operator==(const OperationLabel&) const = default;
};

}  // namespace ropewalk
