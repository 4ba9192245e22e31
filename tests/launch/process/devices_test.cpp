// The summary of the ranks' devices, the warnings, and the devices that are refused.
#include "launch/process/devices.h"

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

DevicePlace place(const std::string& host, const std::string& id, int64_t needed = 1,
                  const std::string& name = "H100") {
  return {host, {name, id, 80 * kGiB, 79 * kGiB}, needed * kGiB};
}

TEST(Devices, OfAKindAreCounted) {
  const auto text = [](const std::vector<DevicePlace>& places) {
    return summarize_devices(places, DeviceTransport::kStaged).text;
  };
  EXPECT_EQ(text({place("a", "0")}), "H100");
  EXPECT_EQ(text({place("a", "0"), place("a", "1"), place("b", "2")}), "3 x H100");
  EXPECT_EQ(text({place("a", "0"), place("a", "0")}), "H100") << "two ranks on one";
  EXPECT_EQ(text({place("a", "0"), place("b", "1", 1, "A100"), place("b", "2", 1, "A100")}), "2 x A100, H100");
}

TEST(Devices, TellTheFormOfTheirAttention) {
  const auto with = [](DevicePlace of, const std::string& attention, bool could_be_faster = false) {
    of.device.attention = attention;
    of.device.could_be_faster = could_be_faster;
    return of;
  };
  const std::vector<DevicePlace> mixed = {with(place("a", "0"), "hopper"), with(place("a", "1"), "hopper"),
                                          with(place("b", "2"), "portable", true),
                                          with(place("b", "3", 1, "A100"), "portable")};
  const DeviceSummary told = summarize_devices(mixed, DeviceTransport::kNccl);
  EXPECT_EQ(told.text, "A100 with portable attention, 2 x H100 with hopper attention, H100 with portable attention");
  ASSERT_EQ(told.warnings.size(), 1u);
  EXPECT_EQ(told.warnings[0].find("warning: this build has no kernels for the Hopper GPU of rank 2 on b, where"), 0u)
      << told.warnings[0];
  run_ranks(4, [&](const auto& world) {
    const auto all = gather_devices(*world, mixed[static_cast<size_t>(world->rank())]);
    if (world->rank() != 0) return;
    EXPECT_EQ(summarize_devices(all, DeviceTransport::kNccl).text, told.text);
    EXPECT_EQ(summarize_devices(all, DeviceTransport::kNccl).warnings, told.warnings);
  });
}

TEST(Devices, ThatRanksShareAreRefusedWithNccl) {
  const std::vector<DevicePlace> shared = {place("a", "0"), place("a", "1"), place("b", "2"), place("b", "2")};
  EXPECT_TRUE(summarize_devices(shared, DeviceTransport::kStaged).warnings.empty());
  try {
    summarize_devices(shared, DeviceTransport::kNccl);
    FAIL() << "not refused";
  } catch (const ConfigurationError& error) {
    EXPECT_EQ(std::string(error.what()).find("ranks 2, 3 on b share one device (H100), and NCCL needs one for each"),
              0u)
        << error.what();
  }
}

TEST(Devices, ThatAreTooSmallAreWarnedOf) {
  const auto warnings = [](const std::vector<DevicePlace>& places) {
    return summarize_devices(places, DeviceTransport::kStaged).warnings;
  };
  EXPECT_TRUE(warnings({place("a", "0", 79), place("a", "1", 79)}).empty());
  const auto alone = warnings({place("a", "0", 10), place("a", "1", 90)});
  ASSERT_EQ(alone.size(), 1u);
  EXPECT_EQ(
      alone[0].find("warning: rank 1 on a will need about 90.0 GiB of device memory, and 79.0 GiB of 80.0 GiB are"), 0u)
      << alone[0];
  const auto together = warnings({place("a", "0", 40), place("a", "0", 40)});
  ASSERT_EQ(together.size(), 1u);
  EXPECT_EQ(together[0].find("warning: ranks 0, 1 on a will need about 80.0 GiB"), 0u) << together[0];
  std::vector<DevicePlace> many;
  for (int rank = 0; rank < 100; ++rank) many.push_back(place("a", std::to_string(rank), 100));
  EXPECT_EQ(warnings(many).size(), 8u);
}

TEST(Devices, ComeToRankZeroInOrder) {
  run_ranks(3, [](const auto& world) {
    const DevicePlace mine =
        place(fmt::format("host \"{}\"", world->rank()), std::to_string(world->rank()), world->rank());
    const std::vector<DevicePlace> all = gather_devices(*world, mine);
    ASSERT_EQ(all.size(), world->rank() == 0 ? 3u : 0u);
    for (size_t rank = 0; rank < all.size(); ++rank) {
      EXPECT_EQ(all[rank].host, fmt::format("host \"{}\"", rank));
      EXPECT_EQ(all[rank].device.id, std::to_string(rank));
      EXPECT_EQ(all[rank].device.available_bytes, 79 * kGiB);
      EXPECT_EQ(all[rank].memory_needed, static_cast<int64_t>(rank) * kGiB);
    }
  });
}

}  // namespace
}  // namespace ropewalk
