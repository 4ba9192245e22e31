#!/bin/bash
# Installs what is missing, builds for this machine's GPU, and measures the CUDA backend beside its peers: one table of ratios, with
# goals, and build/release/benchmark_gpu.json.
#   launch/benchmark_gpu.sh --peers venv/bin/python       an interpreter with torch and transformers (default: python3)
#   launch/benchmark_gpu.sh --parts attention step        of attention, memory, products, step
#   launch/benchmark_gpu.sh --help                        all options
set -euo pipefail
cd "$(dirname "$0")/.."

python=python3
if [ "${1:-}" = --help ]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0"
  exec "$python" tests/benchmark/device_report.py --help
fi
if [ "${1:-}" = --peers ]; then
  python=${2:?--peers needs an interpreter}
  shift 2
fi
launch/build_gpu.sh ropewalk_device_benchmark
exec "$python" tests/benchmark/device_report.py build/release/tests/benchmark/ropewalk_device_benchmark --json build/release/benchmark_gpu.json "$@"
