#!/bin/bash
# The scripts: they parse, the plot shows what it is given, the entropy is right, set-up installs exactly what is missing.
# shellcheck disable=SC2016  # the stubs expand it
set -euo pipefail
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

for script in launch/*.sh launch/slurm.sbatch .ci/run tests/launch/*.sh; do bash -n "$script" || fail "$script"; done
if command -v shellcheck > /dev/null; then shellcheck launch/*.sh launch/slurm.sbatch .ci/run tests/launch/*.sh || fail shellcheck; fi

# A straight line from 4 to 1, a validation on it, and a level below: the corners of the plot.
awk 'BEGIN { for (s = 1; s <= 720; ++s)
  printf "{\"step\":%d,\"loss\":%.6f%s}\n", s, 4 - 3 * (s - 1) / 719, s == 360 ? ",\"validation_loss\":2.5" : "" }' > "$work/m.jsonl"
launch/plot.sh "$work/m.jsonl" 0.5 floor > "$work/plot"
grep -qE '^ +3\.9[0-9]+ \|\*' "$work/plot" || fail "the first column is at the top: $(cat "$work/plot")"
grep -qE '^ +0\.500 \|-{72}$' "$work/plot" || fail "the level is at the bottom: $(cat "$work/plot")"
[ "$(grep -o '|.*' "$work/plot" | tr -cd o | wc -c)" = 1 ] || fail "one validation"
[ "$(grep '|' "$work/plot" | tr -cd '*' | wc -c)" = 71 ] || fail "a star in each column but that of the validation"
grep -q 'step 1 *720$' "$work/plot" || fail "the steps"
mkdir "$work/run"
cp "$work/m.jsonl" "$work/run/metrics.jsonl"
launch/plot.sh "$work/run" 0.5 floor | cmp - "$work/plot" || fail "a plot of a run's directory"
printf '{"step":1,"loss":"nan"}\n{"step":2,"loss":2}\n{"step":3,"lo' > "$work/m.jsonl"  # being written
launch/plot.sh "$work/m.jsonl" > /dev/null || fail "a plot of little"
: > "$work/empty"
launch/plot.sh "$work/empty" | grep -q 'no steps yet' || fail "a plot of nothing"
mkdir "$work/new"
for path in absent new; do
  if launch/plot.sh "$work/$path" 2> "$work/said"; then fail "a plot of no file"; fi
  grep -q "^cannot read $work/$path" "$work/said" || fail "a plot of no file says $(cat "$work/said")"
done

# After a comes b or c, equally often; after those always a: half of the pairs have ln 2, half nothing.
eval "$(sed -n '/^bigram_entropy()/,/^}/p' launch/quickstart.sh)"
for _ in $(seq 1000); do printf 'abac'; done > "$work/text"
entropy=$(bigram_entropy "$work/text")
awk -v h="$entropy" 'BEGIN { exit !(h > 0.3456 && h < 0.3476) }' || fail "entropy $entropy, expected ln(2) / 2 = 0.3466"

# Set-up, with a package archive that only takes notes.
mkdir "$work/bin"
printf '#!/bin/sh\nfor last; do :; done\ncase $last in ninja-build | libhwy-dev) echo not-installed ;; *) printf installed ;; esac\n' \
  > "$work/bin/dpkg-query"
printf '#!/bin/sh\necho "$DEBIAN_FRONTEND apt-get $*" >> "%s/log"\n' "$work" > "$work/bin/apt-get"
printf '#!/bin/sh\necho sudo >> "%s/log"; exec "$@"\n' "$work" > "$work/bin/sudo"
printf '#!/bin/sh\necho 1000\n' > "$work/bin/id"
chmod +x "$work"/bin/*
PATH=$work/bin:$PATH launch/setup.sh build > "$work/said"
printf 'sudo\nnoninteractive apt-get update\nsudo\nnoninteractive apt-get install --yes --no-install-recommends ninja-build libhwy-dev\n' \
  | cmp - "$work/log" || fail "set-up ran $(cat "$work/log")"
grep -q 'apt-get install --yes --no-install-recommends ninja-build libhwy-dev' "$work/said" || fail "set-up says what it runs"
rc=0
launch/setup.sh nonsense 2> /dev/null || rc=$?
[ $rc = 2 ] || fail "an unknown group"
rc=0
launch/test.sh --sanitizer 2> /dev/null || rc=$?
[ $rc = 2 ] || fail "a sanitizer without a name"

# The tests of some folders: what is built and run, with everything that builds and runs only taking notes.
part=$work/part
mkdir -p "$part"/{launch,bin,build/release,build/address} "$part"/tests/{support,kernels,trainer/data}
cp launch/test.sh "$part/launch"
touch "$part"/tests/{.,support,kernels,trainer,trainer/data}/CMakeLists.txt
for command in launch/setup.sh bin/cmake bin/ctest; do
  printf '#!/bin/sh\necho "${0##*/} $*" >> "$CALLS"\n' > "$part/$command"
  chmod +x "$part/$command"
done
export CALLS=$work/part_calls
test_part() { : > "$CALLS"; PATH=$part/bin:$PATH "$part/launch/test.sh" "$@" > "$work/said" 2>&1; }
called() { grep -qxF -- "$1" "$CALLS" || fail "$1 is not among $(cat "$CALLS")"; }
run_with="--no-tests=error --output-on-failure --parallel $(nproc)"
test_part || fail "all tests: $(cat "$work/said")"
called "setup.sh build test"
called "cmake --build --preset release -j$(nproc)"
called "ctest --test-dir build/release --label-regex ^(quick)\$ $run_with"
test_part --only kernels,trainer/data --long --only trainer --sanitizer address || fail "three folders: $(cat "$work/said")"
called "cmake --preset address -DROPEWALK_TESTS=ON"
called "cmake --build --preset address -j$(nproc) --target tests_kernels tests_trainer_data tests_trainer"
called "ctest --test-dir build/address --label-regex ^(quick|long)\$ --label-regex ^(kernels|trainer/data|trainer)\$ $run_with"
for words in "--only support" "--only kernels,dat" "--only trainer/" --only "--only ," "--onyl kernels"; do
  rc=0
  # shellcheck disable=SC2086  # one word or two
  test_part $words || rc=$?
  [ $rc = 2 ] || fail "test.sh $words ends with $rc"
  [ ! -s "$CALLS" ] || fail "test.sh $words ran $(cat "$CALLS")"
  [ "$words" = "--onyl kernels" ] || grep -q "they are kernels trainer trainer/data$" "$work/said" || fail "test.sh $words says $(cat "$work/said")"
done
test_part --help || fail "help"
[ ! -s "$CALLS" ] || fail "help ran $(cat "$CALLS")"
grep -q -- '--only FOLDER' "$work/said" || fail "help says $(cat "$work/said")"

# The tests of a GPU, where each says that it has run: what was skipped is told with its reason, and a failure in the end.
gpu=$work/gpu
mkdir -p "$gpu/launch" "$gpu/bin" "$gpu"/build/release/tests/{equivalence,kernels,parallel/communicator}
cp launch/test_gpu.sh "$gpu/launch"
stub() { printf '#!/bin/sh\n%s\n' "$2" > "$gpu/$1"; chmod +x "$gpu/$1"; }
stub launch/build_gpu.sh :
stub build/release/tests/equivalence/cuda_device_equivalence_test \
  'printf "a.cpp:1: Skipped\nno second device\n\n[  SKIPPED ] Steps.AHundredTimes/dp1 (0 ms)\n"'
stub bin/compute-sanitizer 'echo "$@" >> "$CALLS"; case "$*" in *"$BROKEN"*) exit 99 ;; esac'
stub bin/ctest 'printf "7: [       OK ] Ring (1 ms)\n7: b.cpp:2: Skipped\n7: NCCL wants more\n7:\n7: [  SKIPPED ] Nccl.Sums (0 ms)\n8: skipped: one GPU only\n"'
export CALLS=$work/calls BROKEN=nothing
skipped=$'  Nccl.Sums: NCCL wants more\n  Steps.AHundredTimes/dp1: no second device\n  one GPU only'
for words in "" --quick; do
  : > "$CALLS"
  # shellcheck disable=SC2086  # none, or one
  PATH=$gpu/bin:$PATH "$gpu/launch/test_gpu.sh" $words > "$work/said" || fail "test_gpu.sh $words: $(cat "$work/said")"
  [ "$(tail -n 3 "$work/said")" = "$skipped" ] || fail "test_gpu.sh $words says $(cat "$work/said")"
done
[ ! -s "$CALLS" ] || fail "--quick ran the sanitizer"
grep -q '  compute-sanitizer: --quick' "$work/said" || fail "what --quick left out"
rc=0
PATH=$gpu/bin:$PATH BROKEN=racecheck "$gpu/launch/test_gpu.sh" > "$work/said" || rc=$?
[ $rc = 1 ] || fail "a tool that fails: $rc"
grep -q FAILED "$work/said" || fail "a tool that fails says $(cat "$work/said")"
[ "$(wc -l < "$CALLS")" = 5 ] || fail "the tools ran are $(cat "$CALLS")"
rc=0
"$gpu/launch/test_gpu.sh" --fast 2> "$work/said" || rc=$?
[ $rc = 2 ] || fail "an unknown word"
grep -q -- --quick "$work/said" || fail "an unknown word says $(cat "$work/said")"
echo "all scripts passed"
