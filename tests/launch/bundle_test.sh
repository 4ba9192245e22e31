#!/bin/bash
# The archive for hosts with a GPU, with the emulated device in the GPU's place: made, unpacked elsewhere, and run without this machine's
# own libraries of Open MPI.  bundle_test.sh ROOT BUILD
set -euo pipefail
cd "$1"
build=$2
for command in patchelf xz bible; do
  command -v "$command" > /dev/null || { echo "skipped: $command is not installed (launch/setup.sh text bundle)"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
launch/bundle_gpu.sh --emulated --build "$build" --output "$work/gpu.tar.xz"
tar -C "$work" -xf "$work/gpu.tar.xz"
for file in "$work"/ropewalk_gpu/bin/* "$work"/ropewalk_gpu/lib/*.so; do
  ! readelf -d "$file" | grep -E 'R(UN)?PATH' | grep -qv '\[\$ORIGIN' || { echo "FAILED: $file looks for libraries in a place of this machine"; exit 1; }
done
for part in tests train; do
  "$work/ropewalk_gpu/run.sh" $part "$work/logs"
done
grep -q '^passed .* the same losses$' "$work/logs/1-summary.txt"
