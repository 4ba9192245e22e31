// The hosts that the ranks run on, with CPUs, memory and arithmetic: the summary and the warnings printed at the start
// of a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "launch/process/control_groups.h"
#include "launch/process/launcher.h"
#include "launch/process/start.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

struct Place {
  std::string host;
  std::vector<int> cpus;         // in the rank's affinity mask
  int64_t memory_needed = 0;     // host memory that the rank will need, in bytes
  int64_t memory_available = 0;  // available_memory() on the rank; 0: unknown
  bool yields = true;            // ranks_yield()
  int cpu_quota = 0;             // CPUs whose time the rank's control groups allow; 0: no limit
  Arithmetic arithmetic = {};    // of the rank's kernels
};

// Host memory that this process can still get, in bytes: the smaller of the host's MemAvailable and memory_left()
// (control_groups.h); 0: unknown.
int64_t available_memory(const ControlGroups& groups = {});

// Returns every rank's place, in order of rank, on rank 0; an empty list on other ranks. Collective.
std::vector<Place> gather_places(Communicator& world, const Place& mine);

struct HostSummary {
  std::string text;                   // "2 hosts (node1 x4, node2 x4)"
  std::string arithmetic;             // "bf16 on AMX"; if ranks differ, "4 x bf16 on AMX, 2 x bf16 on AVX512-BF16"
  std::vector<std::string> warnings;  // more ranks than their affinity masks and CPU quotas allow, too little memory,
                                      // units of the processor that are refused
};
// A warning of too few CPUs ends with the options of the job's launcher that help, if there are any. start:
// this_start() of rank 0; its number of CPUs is used only if all ranks are on one host.
HostSummary summarize_hosts(const std::vector<Place>& places, const Start& start, const Launcher& launcher);

}  // namespace ropewalk
