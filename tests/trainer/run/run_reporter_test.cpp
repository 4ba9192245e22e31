// The utilization that a run reports: of output.peak_flops, of a GPU that is known by its name, or of nothing.
#include "trainer/run/run_reporter.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/forwarding_backend.h"
#include "tests/support/models.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/training.h"

namespace ropewalk {
namespace {

class NamedDevice final : public ForwardingBackend {
 public:
  NamedDevice(Backend& inner, std::string name) : ForwardingBackend(inner), name_(std::move(name)) {}
  std::optional<DeviceStatus> device_status() const override { return DeviceStatus{.name = name_, .id = "0"}; }

 private:
  std::string name_;
};

// Metrics of a step on ranks whose devices have these names.
nlohmann::json metrics_of(const std::vector<std::string>& names, double peak_flops) {
  const TemporaryDirectory folder;
  const auto ranks = static_cast<int>(names.size());
  Config config = test_config(small_model({full_nope()}), {ranks, 1, 1}, 8, ranks);
  config.output.directory = folder.path() / "run";
  config.output.peak_flops = peak_flops;
  run_ranks(ranks, [&](std::shared_ptr<Communicator> world) {
    RankOnThread here(config, world);
    const int rank = here.mesh().world().rank();
    Kernels kernels(std::make_unique<NamedDevice>(here.kernels().backend(), names[static_cast<size_t>(rank)]));
    Arena arena(kernels);
    std::optional<RunDirectory> directory;
    if (rank == 0)
      directory.emplace(config.output.directory, "", std::chrono::milliseconds(0), [](const std::string&) {});
    RunReporter reporter(config, {here.mesh(), kernels, arena}, directory ? &*directory : nullptr, 0, false);
    const Batch batch{{random_sample(8, config.model.vocabulary, {}, 3)}};
    reporter.start_step();
    reporter.end_step({.loss = 1.0}, {.step = 1}, config.training.stages.front(), batch);
    reporter.write_step();
  });
  std::ifstream in(folder.path() / "run/metrics.jsonl");
  std::string line;
  std::getline(in, line);
  return nlohmann::json::parse(line);
}

double peak_behind(const nlohmann::json& metrics) {
  return metrics["model_flops_per_second"].get<double>() / metrics["model_flops_utilization"].get<double>();
}

TEST(RunReporter, UtilizationIsOfTheGpusByTheirNames) {
  const double peak = peak_behind(metrics_of({"NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"}, 0));
  EXPECT_NEAR(peak, 2 * 989.4e12, 1e6);
}

TEST(RunReporter, UtilizationIsOfTheConfiguredPeakFirst) {
  EXPECT_NEAR(peak_behind(metrics_of({"NVIDIA H100 80GB HBM3", "unheard of"}, 1e12)), 2e12, 1e3);
}

TEST(RunReporter, NoUtilizationIsInventedForDevicesThatAreNotKnown) {
  EXPECT_FALSE(metrics_of({"emulated"}, 0).contains("model_flops_utilization"));
  EXPECT_FALSE(metrics_of({"NVIDIA H100 80GB HBM3", "emulated"}, 0).contains("model_flops_utilization"));
}

}  // namespace
}  // namespace ropewalk
