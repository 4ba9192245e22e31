#!/bin/bash
# Installs what is missing, builds, and measures the cpu backend: one table of ratios, with goals, and build/release/benchmark.json.
#   launch/benchmark.sh                        some 40 minutes on 2 cores, which should be idle
#   launch/benchmark.sh --parts kernels        the operations and whole steps only
#   launch/benchmark.sh --peers venv/bin/python     beside PyTorch and transformers (pip install torch transformers)
#   launch/benchmark.sh --help                 all options
set -euo pipefail

case "${1:-}" in --help | -h) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" ;; esac
cd "$(dirname "$0")/.."
report=tests/benchmark/report.py
for word in "$@"; do
  case $word in --help | -h) exec python3 $report --help ;; esac
done
# A wrong option is refused before anything is installed or built.
if command -v python3 > /dev/null; then python3 $report build/release "$@" --check; fi

launch/setup.sh build test
cmake --preset release -DROPEWALK_TESTS=ON > /dev/null
cmake --build --preset release -j"$(nproc)" --target ropewalk ropewalk_benchmark
exec python3 $report build/release "$@"
