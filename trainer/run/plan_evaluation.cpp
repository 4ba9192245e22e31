#include "trainer/run/plan_evaluation.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <thread>

#include "kernels/allowed_cpus.h"
#include "trainer/run/device_memory.h"

namespace ropewalk {

Evaluation evaluate_plan(Config config, Purpose purpose) {
  Evaluation out;
  for (const Stage& stage : config.training.stages) {
    out.stages.push_back(estimate_mesh(config, stage, purpose));
    const int64_t needed = needed_bytes(out.stages.back().fullest, config);
    if (needed <= out.needed) continue;
    out.needed = needed;
    out.largest = out.stages.size() - 1;
  }
  out.config = std::move(config);
  return out;
}

void evaluate_plans(const Reconfigure& reconfigure, const std::vector<std::vector<std::string>>& settings,
                    Purpose purpose, const std::function<void(size_t, const Evaluation&)>& use) {
  std::atomic<size_t> next = 0;
  std::vector<std::exception_ptr> errors(std::clamp<size_t>(allowed_cpus().size(), 1, 8));
  const auto work = [&](std::exception_ptr& error) {
    try {
      for (size_t i = next++; i < settings.size(); i = next++) {
        std::optional<Config> config;
        try {
          config = reconfigure(settings[i]);
        } catch (const ConfigurationError&) {
          continue;
        }
        use(i, evaluate_plan(std::move(*config), purpose));
      }
    } catch (...) {
      error = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < errors.size(); ++i) threads.emplace_back(work, std::ref(errors[i]));
  work(errors[0]);
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace ropewalk
