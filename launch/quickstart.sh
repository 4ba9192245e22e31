#!/bin/bash
# From a bare Debian 12 to a trained model: installs, builds, takes the King James Bible from the package archive, trains a small
# RNoPE-SWA model on it with four ranks (context 2 x tensor 2), stops it once and lets it go on, and shows what it learned.
# Everything it makes is in build/ and runs/quickstart/. It takes no options:  launch/quickstart.sh
set -euo pipefail

help() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; }
case "${1:-}" in
  '') ;;
  --help | -h) help; exit 0 ;;
  *) echo "quickstart: there is no option '$1'" >&2; help >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."

run=runs/quickstart
config=configs/quickstart.textproto
ropewalk=build/release/ropewalk
stop_after=100  # steps, before the interruption

say() { printf '\n== %s\n' "$*"; }

# mpirun refuses root without an option. The ranks may have fewer cores than there are ranks, so a waiting rank must yield its core.
# timeout passes SIGUSR1 on to mpirun; an mpirun that does not end 2 minutes later is killed.
start_ranks() {
  local root=()
  [ "$(id -u)" -ne 0 ] || root=(--allow-run-as-root)
  exec timeout --signal=USR1 --kill-after=120 7200 mpirun "${root[@]}" --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n 4 "$@"
}

# H(next byte | byte) of a file, in nats: the loss of the best model that sees only the previous byte.
bigram_entropy() {
  LC_ALL=C awk '
    { line = (NR > 1 ? "\n" : "") $0
      for (i = 1; i <= length(line); ++i) {
        byte = substr(line, i, 1)
        if (previous != "") { ++pairs[previous, byte]; ++count[previous] }
        previous = byte
      } }
    END {
      for (pair in pairs) { split(pair, part, SUBSEP); n += pairs[pair]; h -= pairs[pair] * log(pairs[pair] / count[part[1]]) }
      printf "%.4f\n", h / n
    }' "$1"
}

last_of() { grep -o "\"$1\":[^,}]*" "$run/metrics.jsonl" | tail -n 1 | cut -d: -f2; }

say "installing what is missing"
launch/setup.sh build text

say "building"
cmake --preset release -DROPEWALK_TESTS=OFF > /dev/null
cmake --build --preset release -j"$(nproc)"

say "preparing the text"
rm -rf "$run"
mkdir -p "$run"
bible -f Gen1:1-Rev22:21 > "$run/text.txt"
$ropewalk prepare --input "$run/text.txt" --output "$run/text"
entropy=$(bigram_entropy "$run/text.txt")
awk -v h="$entropy" 'BEGIN { printf "entropy of a byte, given the previous byte: %.4f nats = %.4f bits\n", h, h / log(2) }'

say "training with 4 ranks, to be stopped (SIGUSR1) after step $stop_after"
start_ranks --quiet $ropewalk train $config &  # mpirun would explain exit code 85 as a failure
job=$!
trap 'kill $job 2> /dev/null || true' EXIT
until [ "$(last_of step 2> /dev/null || echo 0)" -ge "$stop_after" ] 2> /dev/null; do
  kill -0 $job 2> /dev/null || break
  sleep 0.5
done
kill -USR1 $job 2> /dev/null || true
code=0
wait $job || code=$?
if [ $code -ne 85 ]; then
  echo "quickstart: the run should have stopped with exit code 85 (launch/README.md), but it ended with $code" >&2
  exit 1
fi

say "the same command again resumes from the checkpoint"
start_ranks $ropewalk train $config &
job=$!
wait $job

say "what it learned"
launch/plot.sh "$run/metrics.jsonl" "$entropy" "entropy of a byte given the previous byte"
loss=$(last_of validation_loss)
awk -v loss="$loss" -v h="$entropy" 'BEGIN {
  printf "validation loss %.4f nats per byte; the best model of byte pairs has %.4f\n", loss, h
  exit !(loss < 0.9 * h)
}' || { echo "quickstart: the loss is not clearly below the entropy" >&2; exit 1; }
