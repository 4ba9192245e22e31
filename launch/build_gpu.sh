#!/bin/bash
# Installs what is missing and builds for this machine's GPUs, tests too:
#   launch/build_gpu.sh                all
#   launch/build_gpu.sh TARGET...      these, and the CUDA backend
set -euo pipefail

for word in "$@"; do
  case $word in
    --help | -h) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "build_gpu: there is no option '$word'; --help lists what there is" >&2; exit 2 ;;
  esac
done
cd "$(dirname "$0")/.."

if ! capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | sort -u) || [ -z "$capability" ]; then
  echo "build_gpu: nvidia-smi finds no GPU on this host; launch/test.sh tests the kernels on an emulated device" >&2
  exit 1
fi
nvidia-smi --query-gpu=index,name,compute_cap,memory.total,driver_version --format=csv

architectures=
for number in ${capability//./}; do
  [ "$number" = 90 ] && number=90a  # with Hopper's own instructions
  architectures+="${architectures:+;}$number-real"
done
launch/setup.sh build test
cmake --preset release -DROPEWALK_TESTS=ON "-DROPEWALK_CUDA_ARCHITECTURES=$architectures" > /dev/null
if ! grep -q '^CMAKE_CUDA_COMPILER:.*=/' build/release/CMakeCache.txt; then
  echo "build_gpu: CMake does not find nvcc; put it on the path, or set CUDACXX=/path/to/nvcc, and remove build/release/CMakeCache.txt" >&2
  exit 1
fi
cmake --build --preset release -j"$(nproc)" ${1:+--target ropewalk_cuda "$@"}
