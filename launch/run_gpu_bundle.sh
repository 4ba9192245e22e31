#!/bin/bash
# Tests and measures the CUDA backend of this archive (made by launch/bundle_gpu.sh) on the GPU of this host.
#   run.sh PART LOGS     PART, and the minutes that it takes at most, 25 in all:
#     tests      all suites of kernels, communicators, whole models and the program                        4.6
#     sanitize   compute-sanitizer's four tools over our kernels, after the plain suite                    5.0
#                (Hopper's attention in racecheck with a module of its own, whose barriers that tool understands)
#     speed      ratios beside PyTorch and a copy, and a training step's MFU                               8.9
#     tune       our attention by each prebuilt variant of the module, in turn                             2.9
#     train      trains on real text, on the GPU and on the CPU, to the same loss                          3.7
#   and, in 7.8 more, where there is NCCL 2.30 or later (NCCL_LIBRARY=FILE: that one, not the host's):
#     nccl       the suites of communicators and whole models, with ranks over NCCL that share the GPU
# Needs the driver, CUDA 13's libraries and, for speed, PyTorch: in PYTHON's packages (default: python3) or in /usr/local/cuda. No step ends
# the others; each has a time of its own. In LOGS: 1-summary.txt (also printed last), 2-failures.txt, 3-all.log, and figures: of speed in
# 4-figures-attention.json, -products.json and -steps.json, of tune in 4-figures-VARIANT.json (lib: the build's own module).
# Exits 0 only if nothing failed.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
help() { sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
case "${1:-}" in --help | -h) help; exit 0 ;; esac
part=${1:-} logs=${2:-}
case $part in tests) seconds=275 ;; sanitize) seconds=300 ;; speed) seconds=530 ;; tune) seconds=170 ;; train) seconds=220 ;; nccl) seconds=470 ;; *) help >&2; exit 2 ;; esac
[ -n "$logs" ] || { help >&2; exit 2; }
mkdir -p "$logs" || exit 2
logs=$(cd "$logs" && pwd)
python=$(command -v "${PYTHON:-python3}") || { echo "run.sh: there is no ${PYTHON:-python3}; set PYTHON to an interpreter" >&2; exit 2; }
python=$(realpath -s "$python")  # absolute, because of the cd below; -s keeps a virtual environment's link
[ -z "${NCCL_LIBRARY:-}" ] || { NCCL_LIBRARY=$(realpath -e "$NCCL_LIBRARY") || exit 2; }
cd "$here" || exit 2
kind=$(sed -n 's/^kind=//p' about)
summary=$logs/1-summary.txt failures=$logs/2-failures.txt all=$logs/3-all.log
: > "$summary"; : > "$failures"; : > "$all"
status=0 patience=1
[ "$kind" = device ] || patience=4  # the emulated device is slower
say() { echo "$*" | tee -a "$summary"; }

# Links CUDA's libraries, from Python's packages or a toolkit, to where our programs look for them.
mkdir -p lib/cuda
if [ "$kind" = device ]; then
  # nvidia is a namespace package, and may have several folders: the user's and the system's.
  mapfile -t packages < <("$python" -c '
import importlib.util
spec = importlib.util.find_spec("nvidia")
print(*(spec.submodule_search_locations if spec else []), sep="\n")' 2> /dev/null)
  folders=()
  for package in "${packages[@]}"; do [ -z "$package" ] || folders+=("$package"/*/lib); done
  for library in libcudart.so.13 libcublasLt.so.13 libnccl.so.2; do
    found=
    if [ $library = libnccl.so.2 ] && [ -n "${NCCL_LIBRARY:-}" ]; then ln -sf "$NCCL_LIBRARY" lib/cuda/$library; continue; fi
    for folder in "${folders[@]}" /usr/local/cuda*/lib64 /usr/lib/x86_64-linux-gnu; do
      if [ -e "$folder/$library" ]; then found=$folder/$library; break; fi
    done
    if [ -n "$found" ]; then ln -sf "$found" lib/cuda/; else say "MISSING  $library: not among $python's packages, nor in /usr/local/cuda"; status=1; fi
  done
fi

# Where Open MPI finds its files; all ranks are on this host.
export OPAL_PREFIX=$here OPAL_BINDIR=$here/bin OPAL_LIBDIR=$here/lib OPAL_PKGLIBDIR=$here/lib/plugins OPAL_PKGDATADIR=$here/share/openmpi \
  OPAL_DATADIR=$here/share OPAL_SYSCONFDIR=$here/share PMIX_MCA_mca_base_component_path=$here/lib/pmix \
  OMPI_MCA_mca_base_component_path=$here/lib/plugins OMPI_MCA_btl=self,vader OMPI_MCA_plm=isolated \
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun=("$here/bin/mpirun" --oversubscribe --bind-to none --mca mpi_yield_when_idle 1)
export ROPEWALK_TEST_SEED=${ROPEWALK_TEST_SEED:-$RANDOM}

end=$((SECONDS + patience * seconds))
# step NAME SECONDS COMMAND...: runs a command and reports it in one line. Its output goes to the log; if it fails, the end goes to the
# failures too. A step gets at most the seconds that are left of its part.
step() {
  local name=$1 most=$((patience * $2)) left=$((end - SECONDS - 5)) began=$SECONDS from rc=0
  shift 2
  [ "$left" -ge "$most" ] || most=$left
  if [ "$most" -lt 5 ]; then say "NOT RUN  $name: the part's time is used up"; status=1; return; fi
  echo "==== $name: $*" >> "$all"
  from=$(($(stat -c %s "$all") + 1))
  timeout --kill-after=5 "$most" "$@" >> "$all" 2>&1 < /dev/null || rc=$?
  case $rc in
    0) say "$(printf 'passed   %4d s  %s' $((SECONDS - began)) "$name")" ;;
    77) say "$(printf 'skipped  %4d s  %s: %s' $((SECONDS - began)) "$name" "$(tail -n 1 "$all")")" ;;
    *) if [ $rc = 124 ] || [ $rc = 137 ]; then why="longer than $most s"; else why="code $rc"; fi
       say "$(printf 'FAILED   %4d s  %s: %s' $((SECONDS - began)) "$name" "$why")"
       { echo "==== $name: $why"; tail -c "+$from" "$all" | grep -aE 'FAILED|Failure|rror|ERROR|terminate|what\(\)' | head -n 40
         echo "  ... the last lines:"; tail -c "+$from" "$all" | tail -n 40; } >> "$failures"
       status=1 ;;
  esac
  return $rc
}

# shellcheck disable=SC2317  # called through bash -c below
about() {
  cat about
  uname -a
  nvidia-smi --query-gpu=index,name,compute_cap,memory.total,driver_version,clocks.sm,clocks.max.sm,power.limit --format=csv 2>&1
  "$1" -c 'import ctypes as c; v = c.c_int(); c.CDLL("lib/cuda/libnccl.so.2").ncclGetVersion(c.byref(v)); print("NCCL", v.value)'
  for file in bin/* lib/*.so racecheck/*.so; do [ -e "$file" ] && ldd "$file" | sed "s|^|$file: |" | grep 'not found' && missing=1; done
  [ -z "${missing:-}" ]
}
export -f about
# shellcheck disable=SC2016  # the inner shell expands $1
step "the host and what is loaded" 20 bash -c 'about "$1"' _ "$python"
[ "$kind" != device ] || "$python" tests/launch/gpus.py >> "$all" 2>&1 ||
  { say "FAILED   no GPU that CUDA can use: every suite would be skipped ($(tail -n 1 "$all"))"; exit 1; }

suite() { step "$1" "$2" "$here/bin/$1" --gtest_brief=1 "${@:3}"; }

case $part in
  tests)
    suite kernels_cuda_device_test 45
    suite communicator_staged_device_test 30
    suite communicator_nccl_device_test 20
    suite cuda_device_equivalence_test 45
    if [ "$kind" = device ]; then
      program=gpu_test.py
      step "a hundred runs, the same bits" 40 bin/cuda_device_equivalence_test --gtest_brief=1 --gtest_also_run_disabled_tests \
        '--gtest_filter=*AHundredTimes*'
    else
      program=gpu_emulated_test.py  # without the hundred runs, which would take minutes
    fi
    step "$program" 70 "$python" "tests/launch/$program" "$here/bin/ropewalk" "$here" "${mpirun[@]}" ;;
  sanitize)
    suite kernels_cuda_device_test 25
    sanitizer=$(PATH=$PATH:/usr/local/cuda/bin; command -v compute-sanitizer)
    if [ -z "$sanitizer" ]; then
      say "skipped  compute-sanitizer: it is neither on the path nor in /usr/local/cuda"
    else
      check() {  # TOOL SECONDS SUITE OPTION...
        step "$1 of $3" "$2" "$sanitizer" --tool "$1" --error-exitcode 99 "${@:4}" "bin/$3" --gtest_brief=1 "--gtest_filter=${filter:-*}"
      }
      # Checks our kernels only, because libraries' kernels (CUB's sort, cuBLASLt) have known reports. initcheck runs on all kernels,
      # because it must see the writes of all memory that our kernels read.
      ours=(--kernel-name kns=ropewalk)
      check memcheck 35 kernels_cuda_device_test "${ours[@]}"
      check memcheck 25 communicator_staged_device_test "${ours[@]}"
      check synccheck 30 kernels_cuda_device_test "${ours[@]}"
      check initcheck 30 kernels_cuda_device_test
      check racecheck 80 kernels_cuda_device_test "${ours[@]}" --kernel-name-exclude kns=hopper_
      LD_LIBRARY_PATH=$here/racecheck${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} filter='*ForwardAndBackward/hopper_*' check racecheck 45 kernels_cuda_device_test "${ours[@]}"
    fi ;;
  nccl)
    # NCCL's kernels wait for each other on the device, so those of all ranks have to run there at the same time: few blocks for each (8 ranks
    # with 2 kernels of 4 blocks are 64 of an H100's 132 SMs), as many queues as there are, and no kernel that is loaded only when called, for
    # which CUDA may wait for the device.
    export NCCL_MULTI_RANK_GPU_ENABLE=1 NCCL_MAX_CTAS=${NCCL_MAX_CTAS-4} NCCL_CGA_CLUSTER_SIZE=${NCCL_CGA_CLUSTER_SIZE-0} \
      CUDA_DEVICE_MAX_CONNECTIONS=${CUDA_DEVICE_MAX_CONNECTIONS-32} CUDA_MODULE_LOADING=${CUDA_MODULE_LOADING-EAGER} NCCL_DEBUG=${NCCL_DEBUG-WARN}
    step "communicators of 2 ranks" 120 bin/communicator_nccl_device_test --gtest_brief=1 '--gtest_filter=*ranks_2'
    step "communicators of more ranks" 180 bin/communicator_nccl_device_test --gtest_brief=1 '--gtest_filter=-*ranks_1:*ranks_2'
    suite cuda_device_equivalence_test 140 ;;
  speed)
    report() {  # NAME SECONDS PART...
      step "$1" "$2" "$python" benchmark/device_report.py bin/ropewalk_device_benchmark --pairs 3 --json "$logs/4-figures-$1.json" --parts "${@:3}"
    }
    report attention 135 attention ring
    report products 60 memory products
    report steps 310 step ;;
  tune)
    modules=(lib/libropewalk_cuda.so variants/*/libropewalk_cuda.so)
    [ -e "${modules[-1]}" ] || unset 'modules[-1]'  # no variants
    for module in "${modules[@]}"; do
      folder=${module%/*}
      step "attention by $folder" $(((seconds - 30) / ${#modules[@]})) env LD_LIBRARY_PATH="$here/$folder" "$python" benchmark/device_report.py bin/ropewalk_device_benchmark \
        --json "$logs/4-figures-${folder##*/}.json" --parts rates --pairs 3
    done ;;
  train)
    rm -rf runs
    mkdir runs
    [ "$kind" = device ] || sed -i 's/steps: 300/steps: 4/; s/warmup_steps: 50/warmup_steps: 1/' on_a_gpu.textproto
    step "prepare" 10 bin/ropewalk prepare --input text.txt --output runs/text
    step "train on the GPU" 40 bin/ropewalk train on_a_gpu.textproto --set output.directory=runs/gpu --set parallel.device=CUDA
    step "train on the GPU, two ranks that share it" 45 "${mpirun[@]}" -n 2 bin/ropewalk train on_a_gpu.textproto \
      --set output.directory=runs/shared --set parallel.device=CUDA --set parallel.device_transport=STAGED --set parallel.context_parallel=2
    ranks=$(($(nproc) >= 8 ? 8 : 2))
    step "train on the CPU, $ranks ranks" 85 "${mpirun[@]}" -n $ranks bin/ropewalk train on_a_gpu.textproto \
      --set output.directory=runs/cpu --set parallel.data_parallel=$ranks
    for run in gpu shared cpu; do
      say "$(printf '%-7s %s' "$run" "$(grep -o '"step":[0-9]*\|"loss":[0-9.]*' "runs/$run/metrics.jsonl" 2> /dev/null | tail -n 2 | tr '\n' ' ')")"
    done
    step "the same losses" 10 "$python" -c '
import json, sys
runs = [[json.loads(l).get("loss") for l in open(f"runs/{r}/metrics.jsonl")] for r in ("cpu", "gpu", "shared")]
runs = [[x for x in run if x is not None] for run in runs]
ends = [sum(run[-20:]) / max(1, len(run[-20:])) for run in runs]  # mean over the last 20 steps
print("mean loss of the last 20 steps: cpu %.4f, gpu %.4f, two ranks %.4f" % tuple(ends))
sys.exit(any(len(run) != len(runs[0]) or abs(end - ends[0]) > 2**-7 * ends[0] for run, end in zip(runs, ends)))'
    tail -n 1 "$all" | tee -a "$summary" ;;
esac

skipped=$(awk '/: Skipped$/ { getline; print } /^skipped: / { print substr($0, 10) }' "$all" | LC_ALL=C sort | uniq -c)
[ -z "$skipped" ] || printf 'skipped tests, and why:\n%s\n' "$skipped" >> "$summary"
grep -ahE ' (of copy|times as fast|times|of peak|per pair|per token|TFLOP/s) ' "$all" >> "$summary"
[ "$(stat -c %s "$all")" -le $((15 << 20)) ] || { tail -c $((15 << 20)) "$all" > "$all.part"; mv "$all.part" "$all"; }
echo; echo "==== summary of $part, $(date -u +%FT%TZ)"
cat "$summary"
[ ! -s "$failures" ] || { echo "==== failures"; head -c 6000 "$failures"; }
exit $status
