#!/bin/bash
# Installs what is missing, builds for this machine's GPUs, and runs all that wants one: kernels, communicators, whole models, a hundred
# runs with the same bits, the program, and compute-sanitizer's four tools over our kernels.
#   launch/test_gpu.sh            all of it
#   launch/test_gpu.sh --quick    without compute-sanitizer
# What runs, and what is told of it, is launch/run_gpu_bundle.sh's; for a host without a network or Debian's packages, launch/bundle_gpu.sh
# makes an archive of the same. Exits 0 only if all that ran passed.
set -euo pipefail
help() { sed -n '2,/^set /s/^# \{0,1\}//p' "launch/${0##*/}"; }
cd "$(dirname "$0")/.."

parts=(tests sanitize)
case ${1:-} in
  '') ;;
  --quick) parts=(tests) ;;
  --help | -h) help; exit 0 ;;
  *) echo "test_gpu: there is no option '$1'" >&2; help >&2; exit 2 ;;
esac
launch/build_gpu.sh
launch/bundle_gpu.sh --build build/release --output build/release/gpu/
status=0
for part in "${parts[@]}"; do
  build/release/gpu/run.sh "$part" "build/release/gpu_logs/$part" || status=1
done
echo "test_gpu: the complete output is in build/release/gpu_logs"
exit $status
