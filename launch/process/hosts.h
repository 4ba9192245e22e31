// Where the ranks are: their hosts, the CPUs that they may use, the memory that they will need; told at the start of a
// run, with what looks wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/process/start.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

struct Place {
  std::string host;
  std::vector<int> cpus;         // that the rank may use
  int64_t memory_needed = 0;     // by the rank, in bytes
  int64_t memory_available = 0;  // on the host when the rank looked, in bytes; 0: not known
  bool yields = true;            // ranks_yield()
};

// What the host can still give, in bytes, or the control group (version 2) that this process is in; 0: not known.
int64_t available_memory();

// Every rank's place, in order of rank, on rank 0; nothing elsewhere. Collective.
std::vector<Place> gather_places(Communicator& world, const Place& mine);

struct HostSummary {
  std::string text;                   // "2 hosts (node1 x4, node2 x4)"
  std::vector<std::string> warnings;  // more ranks than CPUs, ranks bound to one CPU, too little memory
};
// start: of rank 0; warnings about one host end in the line that starts the ranks well.
HostSummary summarize_hosts(const std::vector<Place>& places, const Start& start);

}  // namespace ropewalk
