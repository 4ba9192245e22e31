#!/bin/bash
# Installs what is missing, builds for this machine's GPUs, and runs all that wants one: kernels, communicators, whole
# models, a hundred runs with the same bits, the program, and compute-sanitizer's four tools over the kernels (slow).
#   launch/test_gpu.sh            all of it
#   launch/test_gpu.sh --quick    without compute-sanitizer
# Says at its end what was skipped, and why: where ranks share a GPU, NCCL is. Exits 0 only if all that ran passed.
set -euo pipefail
cd "$(dirname "$0")/.."

without_sanitizer=
case ${1:-} in
  '') command -v compute-sanitizer > /dev/null || without_sanitizer='it is not on the path' ;;
  --quick) without_sanitizer='--quick' ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
launch/build_gpu.sh

tests=build/release/tests
log=build/release/gpu_tests.log
status=0
: > "$log"
check() {
  echo "test_gpu: $*" | tee -a "$log"
  "$@" >> "$log" 2>&1 || { status=1; echo "test_gpu: FAILED, see $log"; }
}
export ROPEWALK_TEST_SEED=${ROPEWALK_TEST_SEED:-$RANDOM}  # fresh inputs of the kernels; in the log, to run them again
echo "test_gpu: ROPEWALK_TEST_SEED=$ROPEWALK_TEST_SEED" | tee -a "$log"
check "$tests/equivalence/cuda_device_equivalence_test" --gtest_also_run_disabled_tests --gtest_filter='*AHundredTimes*'
if [ -z "$without_sanitizer" ]; then
  for tool in memcheck racecheck initcheck synccheck; do
    check compute-sanitizer --tool "$tool" --error-exitcode 99 "$tests/kernels/kernels_cuda_device_test"
  done
  check compute-sanitizer --tool memcheck --error-exitcode 99 "$tests/parallel/communicator/communicator_staged_device_test"
fi
check ctest --test-dir build/release --label-regex gpu --verbose
tail -n 25 "$log"

# GoogleTest tells the reason before the name; ctest puts a number before every line.
echo "test_gpu: skipped (all output is in $log):"
[ -z "$without_sanitizer" ] || echo "  compute-sanitizer: $without_sanitizer"
sed 's/^[0-9]*: //' "$log" | awk '
  /: Skipped$/ { getline reason; next }
  /^\[  SKIPPED \] .* \([0-9]+ ms\)$/ { print "  " $4 ": " reason; next }
  /^skipped: / { print "  " substr($0, 10) }' | LC_ALL=C sort -u
exit $status
