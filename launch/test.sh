#!/bin/bash
# Installs what is missing, builds, and runs the tests:
#   launch/test.sh                           every quick test, on the release build
#   launch/test.sh --only FOLDER[,FOLDER]    those of folders of tests/ alone (parallel, trainer/data), and builds no more than
#                                            they need; may be given several times
#   launch/test.sh --long                    the long ones too
#   launch/test.sh --sanitizer address       under the address and undefined-behaviour sanitizers (or: thread)
#   launch/test.sh --help                    shows this, and does nothing
# Ends in ctest's summary; exits 0 only if all tests passed.
set -euo pipefail
cd "$(dirname "$0")/.."

help() { sed -n '2,/^set/s/^# \{0,1\}//p' launch/test.sh; }
wrong() { echo "test: $*" >&2; exit 2; }
# Folders with tests; each has a target that builds them (trainer/data: tests_trainer_data).
folders() { find tests -mindepth 2 -name CMakeLists.txt -not -path '*/support/*' -printf '%P\n' | sed 's|/CMakeLists.txt$||' | sort; }

preset=release costs=quick only=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) help; exit 0 ;;
    --long) costs='quick|long' ;;
    --only)
      IFS=, read -ra named <<< "${2:-}"
      if [ ${#named[@]} -eq 0 ]; then named=(''); fi
      for folder in "${named[@]}"; do
        # shellcheck disable=SC2046  # one word per folder
        folders | grep -qxF -- "$folder" || wrong "--only takes folders of tests/ that have a CMakeLists.txt, not '$folder'; they are" $(folders)
      done
      only+=("${named[@]}")
      shift ;;
    --sanitizer)
      preset=${2:-}
      case $preset in address | thread) ;; *) wrong "--sanitizer takes address or thread" ;; esac
      shift ;;
    *) help >&2; wrong "there is no option '$1'" ;;
  esac
  shift
done

launch/setup.sh build test fuzz
cmake --preset "$preset" -DROPEWALK_TESTS=ON > /dev/null
targets=() labels=(--label-regex "^($costs)\$")
if [ ${#only[@]} -gt 0 ]; then
  targets=(--target "${only[@]/#/tests_}")
  targets=("${targets[@]//\//_}")
  labels+=(--label-regex "^($(IFS='|'; echo "${only[*]}"))\$")
fi
cmake --build --preset "$preset" -j"$(nproc)" "${targets[@]}"

# Open MPI does not free all its memory, and is not instrumented for the thread sanitizer.
suppressions=$PWD/build/$preset/leaks
printf 'leak:%s\n' libmpi libopen-rte libopen-pal libpmix libhwloc libevent mca_ > "$suppressions"
export LSAN_OPTIONS=suppressions=$suppressions:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=ignore_noninstrumented_modules=1
exec ctest --test-dir "build/$preset" "${labels[@]}" --no-tests=error --output-on-failure --parallel "$(nproc)"
