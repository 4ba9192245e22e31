#!/bin/bash
# Installs what is missing, builds for this machine's GPU, and measures the CUDA backend beside its peers: one table of ratios, with
# goals, and build/release/benchmark_gpu.json.
#   launch/benchmark_gpu.sh --peers venv/bin/python       an interpreter with torch and transformers (default: python3)
#   launch/benchmark_gpu.sh --parts attention step        of attention, memory, products, step
#   launch/benchmark_gpu.sh --help                        all options
set -euo pipefail
cd "$(dirname "$0")/.."

python=python3
report=tests/benchmark/device_report.py
case "${1:-}" in
  --help | -h)
    sed -n '2,/^set /s/^# \{0,1\}//p' "launch/${0##*/}"
    exec "$python" $report --help ;;
esac
if [ "${1:-}" = --peers ]; then
  [ -n "${2:-}" ] || { echo "benchmark_gpu: --peers needs an interpreter" >&2; exit 2; }
  python=$2
  shift 2
fi
# A wrong option is refused before anything is installed or built.
if command -v "$python" > /dev/null; then "$python" $report ropewalk_device_benchmark "$@" --check; fi
launch/build_gpu.sh ropewalk_device_benchmark
exec "$python" $report build/release/tests/benchmark/ropewalk_device_benchmark --json build/release/benchmark_gpu.json "$@"
