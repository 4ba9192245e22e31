// The kinds of calls of a communicator. Logs and error messages have their names; the MPI transport puts their numbers
// into the tags of messages.
#pragma once

#include <cstdint>

namespace ropewalk {

enum class Collective : uint8_t { kExchange, kAllReduce, kReduceScatter, kAllGather, kBroadcast, kBarrier, kSplit };

constexpr const char* name_of(Collective collective) {
  switch (collective) {
    case Collective::kExchange:
      return "exchange";
    case Collective::kAllReduce:
      return "all_reduce";
    case Collective::kReduceScatter:
      return "reduce_scatter";
    case Collective::kAllGather:
      return "all_gather";
    case Collective::kBroadcast:
      return "broadcast";
    case Collective::kBarrier:
      return "barrier";
    case Collective::kSplit:
      return "split";
  }
  return "?";
}

// Identifies the call that a message is part of, among the calls of one communicator. Every rank of a group makes the
// same calls in the same order, so the sequence number is the same at both ends of a message.
struct CallLabel {
  Collective collective;
  int64_t sequence;
  bool operator==(const CallLabel&) const = default;
};

}  // namespace ropewalk
