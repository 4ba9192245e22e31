#!/bin/bash
# Installs what is missing, builds for this machine's GPUs, and runs all that wants one:
#   launch/test_gpu.sh                 kernels, communicators, whole models and the program
#   launch/test_gpu.sh --sanitizer     these, and the kernels under compute-sanitizer's four tools (slow)
# Says at its end what was skipped: where ranks share a GPU, NCCL is. Exits 0 only if all that ran passed.
set -euo pipefail
cd "$(dirname "$0")/.."

sanitize=
case ${1:-} in
  '') ;;
  --sanitizer) sanitize=yes ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
launch/build_gpu.sh

tests=build/release/tests
status=0
check() {
  echo "test_gpu: $*"
  "$@" || status=1
}
check "$tests/equivalence/cuda_device_equivalence_test" --gtest_also_run_disabled_tests --gtest_filter='*AHundredTimes*' --gtest_brief=1
if [ -n "$sanitize" ]; then
  for tool in memcheck racecheck initcheck synccheck; do
    check compute-sanitizer --tool "$tool" --error-exitcode 99 "$tests/kernels/kernels_cuda_device_test" --gtest_brief=1
  done
  check compute-sanitizer --tool memcheck --error-exitcode 99 "$tests/parallel/communicator/communicator_staged_device_test" --gtest_brief=1
fi
log=build/release/gpu_tests.log
ctest --test-dir build/release --label-regex gpu --verbose > "$log" || status=1
echo "test_gpu: skipped (all output is in $log):"
sed -n 's/^[0-9]*: \(\[  SKIPPED \].*\)/  \1/p; s/^[0-9]*: \(skipped.*\)/  \1/p' "$log" | sort -u
tail -n 25 "$log"
exit $status
