// Where the ranks are: their hosts and the CPUs they may use; told at the start of a run, with what looks wrong.
#pragma once

#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace ropewalk {

struct Place {
  std::string host;
  std::vector<int> cpus;  // that the rank may use
};

// CPUs of this process's affinity mask.
std::vector<int> allowed_cpus();

// Every rank's place, in order of rank, on rank 0; nothing elsewhere. Collective.
std::vector<Place> gather_places(Communicator& world, const std::string& host);

struct HostSummary {
  std::string text;                   // "2 hosts (node1 x4, node2 x4)"
  std::vector<std::string> warnings;  // more ranks than CPUs, ranks bound to one CPU
};
HostSummary summarize_hosts(const std::vector<Place>& places);

}  // namespace ropewalk
