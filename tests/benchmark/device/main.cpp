// Times operations of a backend on its device, one for each line of JSON on standard input:
//
//     {"operation": "attention_forward", "length": 16384, "heads": 32, "key_heads": 8, "head_size": 128,
//      "window": 4096, "deterministic": true, "form": "portable"}
//     {"seconds": 0.0021, "flops": 1.1e12, "bytes": 0}
//
// The driver (tests/benchmark/device_report.py) repeats a request several times, alternating with a peer or with a
// second request. So the tensors of the last two requests are kept; the request "rest" frees them.
#include <boost/program_options.hpp>
#include <iostream>
#include <map>

#include "kernels/clock.h"
#include "kernels/error.h"
#include "kernels/make_kernels.h"
#include "tests/benchmark/device/operations.h"

namespace ropewalk::benchmark {
namespace {

using Json = nlohmann::json;

// Seconds of one run, averaged over enough runs to take `at_least` seconds.
double seconds_of(const Operation& operation, Kernels& kernels, double at_least) {
  const auto seconds_of_runs = [&](int64_t runs) {
    kernels.synchronize();
    const double begin = steady_seconds();
    for (int64_t i = 0; i < runs; ++i) operation.run();
    kernels.synchronize();
    return steady_seconds() - begin;
  };
  seconds_of_runs(1);
  for (int64_t runs = 1;; runs *= 2)
    if (const double seconds = seconds_of_runs(runs); seconds >= at_least) return seconds / static_cast<double>(runs);
}

AttentionForm form_of(const std::string& name) {
  for (const AttentionForm form : {AttentionForm::kAutomatic, AttentionForm::kPortable, AttentionForm::kHopper})
    if (name == name_of(form)) return form;
  throw ConfigurationError("unknown form of attention: " + name);
}

int run(int argc, char** argv) {
  namespace po = boost::program_options;
  std::string device;
  double at_least = 0;
  po::options_description options(
      "ropewalk_device_benchmark: times operations, one for each line of JSON on standard input");
  auto add = options.add_options();
  add("help", "this text");
  add("device", po::value(&device)->default_value("cuda"), "cuda, or cpu to try the program");
  add("seconds", po::value(&at_least)->default_value(0.1), "minimum duration of a measurement");
  po::variables_map given;
  po::store(po::parse_command_line(argc, argv, options), given);
  po::notify(given);
  if (given.count("help")) {
    std::cout << options;
    return 0;
  }
  if (device != "cuda" && device != "cpu") throw ConfigurationError("unknown device: " + device);
  const BackendKind backend = device == "cuda" ? BackendKind::kCuda : BackendKind::kCpu;
  std::map<std::pair<bool, AttentionForm>, std::unique_ptr<Kernels>> made;
  std::string line;
  std::map<std::string, Operation> kept;  // by request
  while (std::getline(std::cin, line)) {
    Json answer;
    try {
      const Json request = Json::parse(line);
      const bool deterministic = request.value("deterministic", true);
      const AttentionForm form = form_of(request.value("form", name_of(AttentionForm::kAutomatic)));
      std::unique_ptr<Kernels>& kernels_of_request = made[{deterministic, form}];
      if (!kernels_of_request)
        kernels_of_request = make_kernels(backend, {.deterministic = deterministic, .attention = form});
      Kernels& kernels = *kernels_of_request;
      if (!kept.contains(line)) {
        const std::string name = request.value("operation", "");
        if (kept.size() == 2 || name == "rest" || name == "step")
          kept.clear();        // frees memory before the next allocation
        if (name == "rest") {  // the driver needs the device's memory
          std::cout << "{}" << std::endl;
          continue;
        }
        kept[line] = name == "step" ? make_step(request, kernels, backend) : make_operation(request, kernels);
      }
      const Operation& operation = kept[line];
      answer = {{"seconds", seconds_of(operation, kernels, at_least)},
                {"flops", operation.flops},
                {"bytes", operation.bytes}};
      answer.update(operation.facts);
    } catch (const OutOfMemory& error) {
      kept.clear();
      answer = {{"error", error.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace ropewalk::benchmark

int main(int argc, char** argv) {
  try {
    return ropewalk::benchmark::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "ropewalk_device_benchmark: " << error.what() << "\n";
    return 1;
  }
}
