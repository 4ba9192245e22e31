#include "launch/memory_report.h"

#include "trainer/run/device_memory.h"
#include "trainer/text/format.h"

namespace ropewalk {

std::vector<MemoryLine> memory_lines(const StepEstimate& estimate, const Config& config) {
  const MemoryUse& memory = estimate.memory;
  const bool gpu = config.parallel.backend == BackendKind::kCuda;
  const std::string a_token = bytes_text(estimate.activation_bytes_per_token()) + " a token";
  std::vector<MemoryLine> lines = {
      {"weights", "weights", memory.weights},
      {"gradients", "gradients", memory.gradients},
      {"optimizer", "optimizer", memory.optimizer},
      {"activations", "activations", memory.activations, estimate.tokens > 0 ? a_token : ""},
      {"working memory", "working", memory.working},
      {"sequences", "sequences", estimate.batch_bytes, "", gpu},
      {"message buffers", "messages", estimate.message_bytes, "", gpu},
      {"program, MPI", "program", estimate.program_bytes, "an estimate", gpu}};
  if (gpu) {
    const CudaOverhead overhead = cuda_overhead(config);
    lines.push_back({"CUDA context, cuBLASLt", "cuda_context", overhead.context, "an estimate"});
    lines.push_back({"NCCL buffers", "nccl", overhead.nccl, "an estimate"});
  }
  return lines;
}

std::vector<MemoryLine> device_lines(const StepEstimate& estimate, const Config& config) {
  std::vector<MemoryLine> lines = memory_lines(estimate, config);
  std::erase_if(lines, [](const MemoryLine& line) { return line.bytes == 0 || line.on_host; });
  return lines;
}

int64_t host_bytes(const StepEstimate& estimate, const Config& config) {
  int64_t bytes = 0;
  for (const MemoryLine& line : memory_lines(estimate, config))
    if (line.on_host) bytes += line.bytes;
  return bytes;
}

std::string memory_line(const StepEstimate& estimate, const Config& config) {
  std::string kinds;
  for (const MemoryLine& line : device_lines(estimate, config))
    kinds += fmt::format("{}{} {}{}", kinds.empty() ? "" : ", ", line.name, bytes_text(static_cast<double>(line.bytes)),
                         line.remark.empty() ? "" : fmt::format(" ({})", line.remark));
  const int64_t on_host = host_bytes(estimate, config);
  return fmt::format("{}: {}{}", bytes_text(static_cast<double>(needed_bytes(estimate, config))), kinds,
                     on_host == 0 ? "" : fmt::format("; host memory: {}", bytes_text(static_cast<double>(on_host))));
}

}  // namespace ropewalk
