#include "launch/process/devices.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "parallel/communicator/roster.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

constexpr size_t kWarnings = 8;

}  // namespace

std::vector<DevicePlace> gather_devices(Communicator& world, const DevicePlace& mine) {
  const nlohmann::json text = {mine.host,
                               mine.device.name,
                               mine.device.id,
                               mine.device.total_bytes,
                               mine.device.available_bytes,
                               mine.device.attention,
                               mine.device.could_be_faster,
                               mine.memory_needed};
  std::vector<DevicePlace> places;
  for (const std::string& theirs : gather_texts(world, text.dump())) {
    const nlohmann::json place = nlohmann::json::parse(theirs);
    places.push_back({place[0], {place[1], place[2], place[3], place[4], place[5], place[6]}, place[7]});
  }
  return places;
}

DeviceSummary summarize_devices(const std::vector<DevicePlace>& places, DeviceTransport transport) {
  std::vector<std::string> hosts;
  for (const DevicePlace& place : places) hosts.push_back(place.host);
  const Roster ranks(static_cast<int>(places.size()), hosts);

  std::vector<std::string> order;                 // device ids, in order of their first rank
  std::map<std::string, std::vector<int>> users;  // ranks that use each device
  std::map<std::string, int> names;               // number of devices by name and attention kernels
  std::vector<int> slow;                          // ranks without the fastest kernels
  for (size_t rank = 0; rank < places.size(); ++rank) {
    const DeviceStatus& device = places[rank].device;
    std::vector<int>& of_device = users[device.id];
    if (of_device.empty()) {
      order.push_back(device.id);
      ++names[device.attention.empty() ? device.name
                                       : fmt::format("{} with {} attention", device.name, device.attention)];
    }
    if (device.could_be_faster) slow.push_back(static_cast<int>(rank));
    of_device.push_back(static_cast<int>(rank));
  }

  DeviceSummary out;
  std::vector<std::string> kinds;
  for (const auto& [name, count] : names) kinds.push_back(count > 1 ? fmt::format("{} x {}", count, name) : name);
  out.text = fmt::format("{}", fmt::join(kinds, ", "));

  if (!slow.empty())
    out.warnings.push_back(fmt::format(
        "warning: this build has no kernels for the Hopper GPU{} of {}, where attention would be about twice as fast; "
        "configure it with -DROPEWALK_CUDA_ARCHITECTURES=90a-real",
        slow.size() > 1 ? "s" : "", ranks.names(slow)));
  for (const std::string& id : order) {
    const std::vector<int>& sharing = users[id];
    const DevicePlace& first = places[static_cast<size_t>(sharing.front())];
    if (sharing.size() > 1 && transport == DeviceTransport::kNccl)
      throw ConfigurationError(fmt::format(
          "{} share one device ({}), and NCCL needs one for each; start as many ranks on a host as it has devices "
          "(mpirun --map-by ppr:N:node), or set parallel.device_transport to STAGED",
          ranks.names(sharing), first.device.name));
    int64_t needed = 0, available = 0;
    for (const int rank : sharing) {
      needed += places[static_cast<size_t>(rank)].memory_needed;
      available = std::max(available, places[static_cast<size_t>(rank)].device.available_bytes);
    }
    if (needed > available && out.warnings.size() < kWarnings)
      out.warnings.push_back(fmt::format(
          "warning: {} will need about {} of device memory, and {} of {} are free; share sequences or weights among "
          "more ranks, or set training.recompute (activation checkpointing), a smaller micro_batch or loss_chunk "
          "(`ropewalk plan CONFIG --advice` prints what each saves)",
          ranks.names(sharing), bytes_text(static_cast<double>(needed)), bytes_text(static_cast<double>(available)),
          bytes_text(static_cast<double>(first.device.total_bytes))));
  }
  return out;
}

}  // namespace ropewalk
