#!/bin/bash
# Makes the GPU bundle with the emulated device, unpacks it in a folder whose name contains a blank, and runs it without this machine's own
# Open MPI libraries.  bundle_test.sh ROOT BUILD
set -euo pipefail
cd "$1"
build=$2
for command in patchelf xz bible; do
  command -v "$command" > /dev/null || { echo "skipped: $command is not installed (launch/setup.sh text bundle)"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

launch/bundle_gpu.sh --emulated --build "$build" --output "$work/made/here/gpu.tar.xz"
mkdir "$work/a place"
tar -C "$work/a place" -xf "$work/made/here/gpu.tar.xz"
gpu="$work/a place/ropewalk_gpu"

# All libraries that are loaded are in the bundle, except the C library and the loader.
host='^\s*(linux-vdso|/lib64/ld-linux|statically linked|lib(c|m|dl|pthread|rt|util|resolv)\.so)'
for file in "$gpu"/bin/* "$gpu"/lib/*.so* "$gpu"/lib/{plugins,pmix}/*.so; do
  # shellcheck disable=SC2016  # the loader expands $ORIGIN
  ! readelf -d "$file" | grep -E 'R(UN)?PATH' | grep -v '\[\$ORIGIN' || fail "$file looks for libraries in a place of this machine"
  ! ldd "$file" | grep -vE "$host" | grep -vF "=> $gpu/" || fail "$file loads what does not come with it"
done
for part in tests train; do
  "$gpu/run.sh" $part "$work/logs"
done
grep -q '^passed .* the same losses$' "$work/logs/1-summary.txt"
