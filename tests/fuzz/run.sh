#!/bin/bash
# Runs the libFuzzer programs, one after the other, and says how many inputs each tried and how much code they covered:
#   tests/fuzz/run.sh [SECONDS]    each for so long (600 if not given). Inputs that reach new code are kept in build/release/fuzz, and
#                                  the next run begins with them
#   --runs N                       N inputs each instead, always the same ones, and keeps none
#   --only NAME                    this program alone: the name of a folder in tests/fuzz/corpus
#   --build FOLDER                 the build folder (build/release)
# A failing input is kept in FOLDER/fuzz/failures; FOLDER/tests/fuzz/programs/NAME FILE repeats it. Needs clang with libFuzzer
# (launch/setup.sh fuzz); without it, the exit code is 77.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
seconds=600 runs= only= build=$root/build/release
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --runs) runs=${2:?}; shift ;;
    --only) only=${2:?}; shift ;;
    --build) build=${2:?}; shift ;;
    *[!0-9]* | '') echo "run.sh: there is no option '$1'; see --help" >&2; exit 2 ;;
    *) seconds=$1 ;;
  esac
  shift
done

names=${only:-$(ls "$root/tests/fuzz/corpus")}
mkdir -p "$build/fuzz/failures"
for name in $names; do
  program=$build/tests/fuzz/programs/$name
  if [ ! -x "$program" ]; then
    echo "fuzz: $program does not exist; it needs clang with libFuzzer when the build folder is configured: launch/setup.sh fuzz" >&2
    exit 77
  fi
  kept=$build/fuzz/$name amount=(-max_total_time="$seconds")
  if [ -n "$runs" ]; then
    kept=$(mktemp -d)
    trap 'rm -rf "$kept"' EXIT
    amount=(-runs="$runs" -seed=1)
  fi
  mkdir -p "$kept"
  log=$build/fuzz/$name.log
  echo "fuzz: $name begins with $(find "$kept" "$root/tests/fuzz/corpus/$name" -type f | wc -l) inputs"
  if ! "$program" "${amount[@]}" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -dict="$root/tests/fuzz/json.dict" -print_final_stats=1 \
      -artifact_prefix="$build/fuzz/failures/$name-" "$kept" "$root/tests/fuzz/corpus/$name" > "$log" 2>&1; then
    tail -n 60 "$log"
    echo "fuzz: $name FAILED; $log has the whole report" >&2
    exit 1
  fi
  echo "fuzz: $name tried $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs without a failure;" \
       "$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -n 1)"
done
