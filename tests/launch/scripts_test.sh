#!/bin/bash
# The scripts: syntax, plots, the entropy of quickstart.sh, the packages that setup.sh installs, and the GPU bundle's steps.
# shellcheck disable=SC2016  # the stubs expand the variables
set -euo pipefail
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

for script in launch/*.sh launch/slurm.sbatch .ci/run tests/launch/*.sh; do bash -n "$script" || fail "$script"; done
if command -v shellcheck > /dev/null; then shellcheck launch/*.sh launch/slurm.sbatch .ci/run tests/launch/*.sh || fail shellcheck; fi

# Every script explains itself, and refuses an option that it does not know, before it does anything.
mkdir "$work/watched"
export CALLS=$work/watched_calls
: > "$CALLS"
for command in apt-get apt-cache dpkg-query sudo cmake ninja ctest nvidia-smi srun scontrol mpirun ip bible; do
  printf '#!/bin/sh\necho "${0##*/} $*" >> "$CALLS"\n' > "$work/watched/$command"
  chmod +x "$work/watched/$command"
done
for script in launch/*.sh launch/slurm.sbatch; do
  for option in --help -h; do
    rc=0
    PATH=$work/watched:$PATH bash "$script" $option > "$work/said" 2> "$work/errors" < /dev/null || rc=$?
    { [ $rc = 0 ] && [ "$(wc -l < "$work/said")" -ge 2 ] && [ ! -s "$work/errors" ]; } || fail "$script $option: $rc, $(cat "$work/said" "$work/errors")"
    (cd / && PATH=$work/watched:$PATH bash "$OLDPWD/$script" $option) | cmp -s - "$work/said" || fail "$script $option from another folder"
    sed -n 2p "$script" | grep -qF -- "$(head -n 1 "$work/said")" || fail "the help of $script begins with $(head -n 1 "$work/said")"
  done
  rc=0
  PATH=$work/watched:$PATH bash "$script" --no-such-option > "$work/said" 2> "$work/errors" < /dev/null || rc=$?
  { [ $rc = 2 ] && [ ! -s "$work/said" ] && [ -s "$work/errors" ]; } || fail "$script --no-such-option: $rc, $(cat "$work/said" "$work/errors")"
  [ ! -s "$CALLS" ] || fail "$script, asked for help or for nonsense, ran $(cat "$CALLS")"
done
for script in tests/end_to_end/*.py tests/benchmark/{,device_}report.py tests/benchmark/peers/*.py tests/mutation/mutation_test.py; do
  python3 "$script" --help > "$work/said" 2>&1 < /dev/null || fail "$script --help: $(cat "$work/said")"
  [ "$(wc -l < "$work/said")" -ge 3 ] || fail "the help of $script: $(cat "$work/said")"
done

# A straight line from 4 to 1, one validation on it, and a level below it, to check the corners of the plot.
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
printf '{"step":1,"loss":"nan"}\n{"step":2,"loss":2}\n{"step":3,"lo' > "$work/m.jsonl"  # the last line is incomplete
launch/plot.sh "$work/m.jsonl" > /dev/null || fail "a plot of little"
: > "$work/empty"
launch/plot.sh "$work/empty" | grep -q 'no steps yet' || fail "a plot of nothing"
mkdir "$work/new"
for path in absent new; do
  if launch/plot.sh "$work/$path" 2> "$work/said"; then fail "a plot of no file"; fi
  grep -q "^cannot read $work/$path" "$work/said" || fail "a plot of no file says $(cat "$work/said")"
done

# a is followed by b or c, equally often; b and c always by a. So half of the pairs have entropy ln 2, the others 0.
eval "$(sed -n '/^bigram_entropy()/,/^}/p' launch/quickstart.sh)"
for _ in $(seq 1000); do printf 'abac'; done > "$work/text"
entropy=$(bigram_entropy "$work/text")
awk -v h="$entropy" 'BEGIN { exit !(h > 0.3456 && h < 0.3476) }' || fail "entropy $entropy, expected ln(2) / 2 = 0.3466"

# setup.sh, with an apt-get that only records its arguments.
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

# A newcomer has no GoogleTest: the documents install what the build needs, and build without tests.
for page in README.md launch/README.md launch/guide/first-run.md; do
  grep -qF 'cmake --preset release -DROPEWALK_TESTS=OFF && cmake --build --preset release' "$page" || fail "the build line of $page"
  awk '/^launch\/setup.sh( |$)/ { installed = 1 } /^[^#`]*cmake --preset release / && !installed { exit 1 } /cmake --preset release / { exit }' "$page" ||
    fail "$page builds before launch/setup.sh"
done

# slurm.sbatch: it looks for the program before it starts ranks, and requeues a job that had time to make progress.
mkdir "$work/slurm"
printf '#!/bin/sh\necho "${0##*/} $*" >> "$CALLS"; exit $CODE\n' > "$work/slurm/srun"
printf '#!/bin/sh\necho "${0##*/} $*" >> "$CALLS"\n' > "$work/slurm/scontrol"
chmod +x "$work"/slurm/*
export CALLS=$work/slurm_calls
slurm_job() {  # CODE of srun, SECONDS that the job has taken, PROGRAM
  : > "$CALLS"
  rc=0
  CODE=$1 ROPEWALK=$3 SLURM_JOB_ID=7 PATH=$work/slurm:$PATH env SECONDS="$2" bash launch/slurm.sbatch my.textproto > "$work/said" 2>&1 || rc=$?
}
slurm_job 85 100 /bin/true
{ [ $rc = 85 ] && grep -qx 'scontrol requeue 7' "$CALLS"; } || fail "slurm.sbatch requeues: $rc, $(cat "$CALLS")"
grep -q '^srun .* /bin/true train my.textproto$' "$CALLS" || fail "slurm.sbatch runs $(cat "$CALLS")"
slurm_job 85 10 /bin/true
{ [ $rc = 85 ] && ! grep -q scontrol "$CALLS" && grep -q 'set --time well above' "$work/said"; } || fail "slurm.sbatch requeues a job without time: $(cat "$CALLS")"
slurm_job 0 100 /bin/true
{ [ $rc = 0 ] && ! grep -q scontrol "$CALLS"; } || fail "slurm.sbatch requeues a run that is done: $rc, $(cat "$CALLS")"
slurm_job 0 100 absent/ropewalk
{ [ $rc = 2 ] && [ ! -s "$CALLS" ] && grep -q 'no program absent/ropewalk in .*; set ROPEWALK' "$work/said"; } || fail "no program: $rc, $(cat "$work/said")"

# quickstart.sh does not leave its job when it is ended, in its first run and in its second.
mkdir -p "$work/quick"/{launch,bin,build/release}
cp launch/quickstart.sh "$work/quick/launch"
for command in launch/setup.sh bin/cmake bin/bible build/release/ropewalk; do printf '#!/bin/sh\n' > "$work/quick/$command"; done
cat > "$work/quick/bin/mpirun" << 'END'
#!/bin/bash
trap 'exit 85' USR1  # as the ranks do
[ "$FIRST" = 1 ] || echo '{"step":100,"loss":1}' >> runs/quickstart/metrics.jsonl
echo $$ >> mpirun.pid
while :; do sleep 0.1; done
END
chmod +x "$work"/quick/{launch,bin,build/release}/*
for FIRST in 1 0; do
  : > "$work/quick/mpirun.pid"
  FIRST=$FIRST PATH=$work/quick/bin:$PATH "$work/quick/launch/quickstart.sh" > "$work/said" 2>&1 &
  quick=$!
  for _ in $(seq 100); do
    [ "$(wc -l < "$work/quick/mpirun.pid")" -lt $((2 - FIRST)) ] || break
    sleep 0.1
  done
  [ "$(wc -l < "$work/quick/mpirun.pid")" = $((2 - FIRST)) ] || fail "quickstart.sh: $(cat "$work/said")"
  kill $quick
  wait $quick || true
  mpirun=$(tail -n 1 "$work/quick/mpirun.pid")
  for _ in $(seq 50); do kill -0 "$mpirun" 2> /dev/null || break; sleep 0.1; done
  if kill -9 "$mpirun" 2> /dev/null; then fail "quickstart.sh leaves its job"; fi
done

# test.sh: what it builds and runs, with stubs that only record their arguments.
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
called "setup.sh build test fuzz"
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

# The GPU bundle: every program is run, a failure does not stop the others, and skipped tests are reported with their reason.
gpu=$work/gpu
mkdir -p "$gpu"/{bin,lib,tests/launch,path}
cp launch/run_gpu_bundle.sh "$gpu/run.sh"
printf 'kind=device\ncommit=1\n' > "$gpu/about"
stub() { printf '#!/bin/sh\n%s\n' "$2" > "$gpu/$1"; chmod +x "$gpu/$1"; }
for test in kernels_cuda communicator_staged communicator_nccl; do stub "bin/${test}_device_test" 'echo "${0##*/} $*" >> "$CALLS"'; done
stub bin/cuda_device_equivalence_test 'printf "a.cpp:1: Skipped\nno second device\n"; case "$*" in *"$BROKEN"*) echo "an Error"; exit 3 ;; esac'
stub path/python3 'case "$*" in *find_spec*) exec '"$(command -v python3)"' "$@" ;; *gpus.py*) [ "$BROKEN" != gpus ] ;; *gpu_test.py*) echo "skipped: one GPU only" ;; esac'
stub path/ldd :
stub path/nvidia-smi :
stub path/compute-sanitizer 'echo "$@" >> "$CALLS"; case "$*" in *"$BROKEN"*) exit 99 ;; esac'
touch "$gpu"/path/{libcudart.so.13,libcublasLt.so.13,libnccl.so.2}
sed -i "s|/usr/local/cuda\*/lib64 /usr/lib/x86_64-linux-gnu; do|$gpu/path; do|" "$gpu/run.sh"  # where CUDA's libraries are
export CALLS=$work/calls BROKEN=nothing
on_gpu() { : > "$CALLS"; rc=0; PATH=$gpu/path:$PATH "$gpu/run.sh" "$@" > "$work/said" 2>&1 || rc=$?; }
on_gpu tests "$work/logs"
[ $rc = 0 ] || fail "all that passes ends with $rc: $(cat "$work/said")"
[ "$(grep -c '^passed' "$work/logs/1-summary.txt")" = 7 ] || fail "seven steps: $(cat "$work/said")"
grep -qx ' *2 no second device' "$work/logs/1-summary.txt" || fail "why a test was skipped: $(cat "$work/said")"
grep -qx ' *1 one GPU only' "$work/logs/1-summary.txt" || fail "why a program was skipped: $(cat "$work/said")"
BROKEN=AHundredTimes on_gpu tests "$work/logs"
[ $rc = 1 ] || fail "a suite that fails ends with $rc"
grep -q '^FAILED .* a hundred runs, the same bits: code 3$' "$work/logs/1-summary.txt" || fail "which suite: $(cat "$work/said")"
grep -q '^an Error$' "$work/logs/2-failures.txt" || fail "what it said"
grep -q '^passed .* gpu_test.py$' "$work/logs/1-summary.txt" || fail "the step after a failure"
on_gpu sanitize "$work/logs"
[ $rc = 0 ] || fail "sanitizers: $rc"
[ "$(sed -n 's/.*--tool \([a-z]*\) .* bin\/\([a-z]*\)_.*/\1 \2/p' "$CALLS" | sort | tr '\n' ';')" = \
  'initcheck kernels;memcheck communicator;memcheck kernels;racecheck kernels;racecheck kernels;synccheck kernels;' ] || fail "the tools ran are $(cat "$CALLS")"
[ "$(grep -c 'racecheck.*kns=ropewalk ' "$CALLS")" = 2 ] || fail "races of libraries are not ours"
[ "$(grep -c 'racecheck.*filter=.*hopper' "$CALLS")" = 1 ] || fail "Hopper's attention in racecheck"
! grep -q 'initcheck.*--kernel-name' "$CALLS" || fail "initcheck does not see what libraries write"
BROKEN=racecheck on_gpu sanitize "$work/logs"
{ [ $rc = 1 ] && grep -q '^FAILED .* racecheck of kernels_cuda_device_test: code 99$' "$work/said"; } || fail "a tool that fails: $rc, $(cat "$work/said")"
BROKEN=gpus on_gpu tests "$work/logs"
{ [ $rc = 1 ] && grep -q '^FAILED   no GPU' "$work/logs/1-summary.txt" && [ ! -s "$CALLS" ]; } || fail "no GPU: $rc, $(cat "$work/said")"
touch "$work/libnccl.so.2.32"
cd "$work"
NCCL_LIBRARY=libnccl.so.2.32 on_gpu nccl "$work/logs"
cd "$1"
{ [ $rc = 0 ] && [ "$(readlink "$gpu/lib/cuda/libnccl.so.2")" = "$work/libnccl.so.2.32" ]; } || fail "NCCL_LIBRARY: $rc, $(cat "$work/said")"
[ "$(sed -n 's/^communicator_nccl_device_test .*filter=//p' "$CALLS" | tr '\n' ' ')" = '*ranks_2 -*ranks_1:*ranks_2 ' ] || fail "NCCL's suites ran as $(cat "$CALLS")"
rm "$gpu/path/nvidia-smi"
on_gpu tests "$work/logs"
[ $rc = 0 ] || fail "no nvidia-smi: $rc, $(cat "$work/said")"
PYTHON=absent on_gpu tests "$work/logs"
{ [ $rc = 2 ] && [ "$(grep -c . "$work/said")" = 1 ] && grep -q 'there is no absent' "$work/said"; } || fail "no Python: $rc, $(cat "$work/said")"
mkdir "$work/it's here"
ln -s "$gpu/path/python3" "$work/it's here/python"
cd "$work"
PYTHON="it's here/python" on_gpu tests "$work/logs"
cd "$1"
[ $rc = 0 ] || fail "an interpreter by a relative path: $rc, $(cat "$work/said")"
mkdir -p "$work"/{one/nvidia/a,two/nvidia/b}/lib
touch "$work/one/nvidia/a/lib/libcudart.so.13" "$work"/two/nvidia/b/lib/{libcublasLt.so.13,libnccl.so.2}
PYTHONPATH=$work/one:$work/two on_gpu tests "$work/logs"
[ "$(readlink "$gpu"/lib/cuda/{libcublasLt.so.13,libcudart.so.13,libnccl.so.2} | tr '\n' ' ')" = \
  "$work/two/nvidia/b/lib/libcublasLt.so.13 $work/one/nvidia/a/lib/libcudart.so.13 $work/two/nvidia/b/lib/libnccl.so.2 " ] ||
  fail "libraries of two folders of Python's: $(ls -l "$gpu/lib/cuda")"

# The time limits of a part's steps fit into the part's limit. Here each step uses up all its time at once, and the clock
# stands still, so that a slow machine takes no time from them.
mkdir -p "$gpu/variants/other"
touch "$gpu"/{lib,variants/other}/libropewalk_cuda.so
sed 's/^  timeout --kill-after=5 "$most" .*/  end=$((end - most))/; s/|| most=$left$/|| say "NOT RUN  so long"/; 2i unset SECONDS; SECONDS=0' "$gpu/run.sh" > "$gpu/limits.sh"
for part in tests:7 sanitize:8 speed:4 tune:3 train:6 nccl:4; do
  PATH=$gpu/path:$PATH bash "$gpu/limits.sh" ${part%:*} "$work/logs" > "$work/said" 2>&1 || true
  { [ "$(grep -c '^passed' "$work/logs/1-summary.txt")" = ${part#*:} ] && ! grep -q 'NOT RUN' "$work/said"; } || fail "limits of $part: $(cat "$work/said")"
done

rm "$gpu/path/libnccl.so.2" "$gpu/lib/cuda/libnccl.so.2"
on_gpu tests "$work/logs"
{ [ $rc = 1 ] && grep -q '^MISSING  libnccl.so.2' "$work/said"; } || fail "a library that is missing: $rc, $(cat "$work/said")"
on_gpu all "$work/logs"
[ $rc = 2 ] || fail "an unknown part: $rc"

# The number of GPUs, from CUDA's runtime.
cp tests/launch/gpus.py "$gpu/tests/launch"
for devices in 2:0:2 0:0:0 0:100:0 0:35:0 2:999:wrong; do  # the library's count : its return code : the expected result
  IFS=: read -r count code there <<< "$devices"
  echo "int cudaGetDeviceCount(int* count) { return *count = $count, $code; }" | gcc -shared -fPIC -x c - -o "$work/libcudart.so.13"
  mv "$work/libcudart.so.13" "$gpu/lib/cuda/libcudart.so.13"
  rc=0
  python3 "$gpu/tests/launch/gpus.py" > "$work/said" 2>&1 || rc=$?
  case $there in
    wrong) { [ $rc = 1 ] && grep -q "code $code" "$work/said"; } || fail "devices that cannot be used: $rc, $(cat "$work/said")" ;;
    *) { [ $rc = $((there == 0)) ] && grep -qx "$there CUDA devices" "$work/said"; } || fail "$there devices: $rc, $(cat "$work/said")" ;;
  esac
done

# test_gpu.sh, which builds the bundle on the machine with the GPU.
here=$work/here
mkdir -p "$here"/{launch,build/release/gpu}
cp launch/test_gpu.sh "$here/launch"
for command in launch/build_gpu.sh launch/bundle_gpu.sh build/release/gpu/run.sh; do
  printf '#!/bin/sh\necho "${0##*/} $*" >> "$CALLS"; case "$*" in "$BROKEN"*) exit 1 ;; esac\n' > "$here/$command"
  chmod +x "$here/$command"
done
: > "$CALLS"
"$here/launch/test_gpu.sh" > /dev/null || fail "test_gpu.sh"
[ "$(cut -d' ' -f1,2 "$CALLS" | tr '\n' ';')" = 'build_gpu.sh ;bundle_gpu.sh --build;run.sh tests;run.sh sanitize;' ] || fail "test_gpu.sh ran $(cat "$CALLS")"
: > "$CALLS"
rc=0
BROKEN=tests "$here/launch/test_gpu.sh" --quick > /dev/null || rc=$?
[ $rc = 1 ] || fail "tests that fail: $rc"
! grep -q sanitize "$CALLS" || fail "--quick ran the sanitizers"
for script in test_gpu.sh bundle_gpu.sh; do
  rc=0
  "launch/$script" --fast > /dev/null 2> "$work/said" || rc=$?
  [ $rc = 2 ] || fail "an unknown word for $script: $rc"
  grep -q "launch/$script" "$work/said" || fail "an unknown word for $script says $(cat "$work/said")"
  "launch/$script" --help | grep -q "launch/$script" || fail "help of $script"
done

# Wrong options of bundle_gpu.sh are refused before anything is built.
mkdir -p "$work/theirs"
touch "$work/theirs/run.sh"
refused() {  # WHY WORD...
  rc=0
  launch/bundle_gpu.sh "${@:2}" 2> "$work/said" || rc=$?
  { [ $rc = 2 ] && grep -q -- "$1" "$work/said"; } || fail "bundle_gpu.sh ${*:2}: $rc, $(cat "$work/said")"
}
refused 'a=absent: there is no such file' --output "$work/" --variant a=absent
refused 'is not NAME=MODULE' --output "$work/" --variant "$1/README.md"
refused 'is not NAME=MODULE' --output "$work/" --variant "../a=$1/README.md"
refused '--output needs a value' --output ''
refused 'is a folder' --output "$work/theirs"
refused 'was not made by this script' --output "$work/theirs/"
[ -f "$work/theirs/run.sh" ] || fail "somebody's folder was removed"
echo "all scripts passed"
