// Prints one line of JSON for each case. report.py combines them and has the goals.
#include <boost/program_options.hpp>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "kernels/error.h"
#include "launch/process/memory_return.h"
#include "tests/benchmark/cases.h"

namespace ropewalk::benchmark {
namespace {

std::vector<Entry> all_cases() {
  std::vector<Entry> all;
  for (const auto& make : {product_cases, attention_cases, memory_cases, step_cases})
    for (Entry& entry : make()) all.push_back(std::move(entry));
  return all;
}

int run(int argc, char** argv) {
  namespace po = boost::program_options;
  std::string filter;
  int pairs = 0;
  po::options_description options("ropewalk_benchmark: measures the cpu backend on one thread");
  auto add = options.add_options();
  add("help", "this text");
  add("list", "print the names of the cases and exit");
  add("filter", po::value(&filter)->default_value(""),
      "measure only the cases whose names match this regular expression");
  add("pairs", po::value(&pairs)->default_value(7),
      "number of runs that alternate with the yardstick; the median is printed");
  po::variables_map given;
  po::store(po::parse_command_line(argc, argv, options), given);
  po::notify(given);
  if (given.count("help")) {
    std::cout << options;
    return 0;
  }
  const std::regex wanted(filter);
  std::map<std::string, Yardstick> yardsticks;
  for (const auto& make : {fma_peak, bf16_peak, copy_bandwidth, update_bandwidth}) {
    Yardstick yardstick = make();
    yardsticks.emplace(yardstick.name, std::move(yardstick));
  }
  for (const Entry& entry : all_cases()) {
    if (!std::regex_search(entry.name, wanted)) continue;
    if (given.count("list")) {
      std::cout << entry.name << "\n";
      continue;
    }
    const Figure f = measure(entry.make(), yardsticks.at(entry.yardstick), pairs);
    const nlohmann::json line = {{"name", f.name},
                                 {"rate", f.rate},
                                 {"unit", f.unit},
                                 {"yardstick", entry.yardstick},
                                 {"share", f.share},
                                 {"share_low", f.share_low},
                                 {"share_high", f.share_high},
                                 {"cpu_seconds", f.seconds}};
    std::cout << line.dump() << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace ropewalk::benchmark

int main(int argc, char** argv) {
  ropewalk::return_large_blocks();  // as in the program
  try {
    return ropewalk::benchmark::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "ropewalk_benchmark: " << error.what() << "\n";
    return 1;
  }
}
