#!/bin/bash
# Installs what is missing, builds, and runs the tests:
#   launch/test.sh                           every quick test, on the release build
#   launch/test.sh --long                    the long ones too
#   launch/test.sh --sanitizer address       under the address and undefined-behaviour sanitizers (or: thread)
# Ends in ctest's summary; exits 0 only if all tests passed.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=release labels=(--label-regex quick)
while [ $# -gt 0 ]; do
  case $1 in
    --long) labels=(--label-regex 'quick|long') ;;
    --sanitizer)
      preset=${2:-}
      shift
      case $preset in address | thread) ;; *) echo "test: --sanitizer takes address or thread" >&2; exit 2 ;; esac ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done

launch/setup.sh build test
cmake --preset "$preset" -DROPEWALK_TESTS=ON > /dev/null
cmake --build --preset "$preset" -j"$(nproc)"

# Open MPI keeps some memory to the end, and is not built for the thread sanitizer.
suppressions=$PWD/build/$preset/leaks
printf 'leak:%s\n' libmpi libopen-rte libopen-pal libpmix libhwloc libevent mca_ > "$suppressions"
export LSAN_OPTIONS=suppressions=$suppressions:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=ignore_noninstrumented_modules=1
exec ctest --test-dir "build/$preset" "${labels[@]}" --output-on-failure --parallel "$(nproc)"
