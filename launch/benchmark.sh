#!/bin/bash
# Installs what is missing, builds, and measures the cpu backend: one table of ratios, with goals, and build/release/benchmark.json.
#   launch/benchmark.sh                        some 40 minutes on 2 cores, which should be idle
#   launch/benchmark.sh --parts kernels        the operations and whole steps only
#   launch/benchmark.sh --peers venv/bin/python     beside PyTorch and transformers (pip install torch transformers)
#   launch/benchmark.sh --help                 all options
set -euo pipefail
cd "$(dirname "$0")/.."

launch/setup.sh build test
cmake --preset release -DROPEWALK_TESTS=ON > /dev/null
cmake --build --preset release -j"$(nproc)" --target ropewalk ropewalk_benchmark
exec python3 tests/benchmark/report.py build/release "$@"
