#!/bin/bash
# Makes one archive of all that tests and measures the CUDA backend on a host that has a GPU, CUDA 13's libraries and Python with
# PyTorch, and nothing else: no network, no Open MPI, none of Debian's packages.
#   launch/bundle_gpu.sh --output FILE.tar.xz [OPTION]...     or --output FOLDER/, which it makes anew in place of an archive
#     --build DIR            a build with tests (default: build/release, which is made)
#     --variant NAME=MODULE  one more libropewalk_cuda.so, which `run.sh tune` measures beside the build's own; any number of them
#     --text FILE            what `run.sh train` trains on (default: the King James Bible of package bible-kjv-text)
#     --emulated             with the emulated device in the place of the GPU, to try the archive where there is none
# There:  tar xf FILE.tar.xz && ropewalk_gpu/run.sh tests LOGS    (then sanitize, speed, tune, train; run.sh --help)
set -euo pipefail

help() { sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
output='' folder='' build='' text='' emulated='' variants=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) help; exit 0 ;;
    --emulated) emulated=1; shift; continue ;;
    --output | --build | --variant | --text) [ -n "${2:-}" ] || { echo "bundle_gpu: $1 needs a value" >&2; exit 2; } ;;
    *) echo "bundle_gpu: there is no option '$1'" >&2; help >&2; exit 2 ;;
  esac
  value=$2
  [ "$1" = --variant ] || value=$(realpath -m "$2")
  case $1 in
    --output) output=$value; [ "${2: -1}" != / ] || folder=1 ;;
    --build) build=$value ;;
    --variant)
      [[ $value =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*=. ]] || { echo "bundle_gpu: --variant $value is not NAME=MODULE" >&2; exit 2; }
      variants+=("$value") ;;
    --text) text=$value ;;
  esac
  shift 2
done
[ -n "$output" ] || { echo "bundle_gpu: --output FILE.tar.xz is missing" >&2; help >&2; exit 2; }
for variant in "${variants[@]}"; do
  [ -f "${variant#*=}" ] || { echo "bundle_gpu: --variant $variant: there is no such file" >&2; exit 2; }
done
start=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "$folder" ] && [ -d "$output" ]; then
  echo "bundle_gpu: $output is a folder; name a file, or append / to write a folder instead of an archive" >&2
  exit 2
fi
# An existing output folder is removed, so it must be one that this script made.
made_here() { [ -f "$1/bin/ropewalk_device_benchmark" ] && [[ $(head -n 1 "$1/about" 2> /dev/null) = kind=* ]]; }
if [ -n "$folder" ] && [ -e "$output" ] && ! made_here "$output"; then
  echo "bundle_gpu: $output exists and was not made by this script; name another folder" >&2
  exit 2
fi
mkdir -p "$(dirname "$output")"

launch/setup.sh build test text bundle
kind=device
[ -z "$emulated" ] || kind=emulated
if [ -z "$build" ]; then
  build=build/release
  cmake --preset release -DROPEWALK_TESTS=ON > /dev/null
fi
module=$build/libropewalk_cuda.so
targets=(ropewalk_cuda ropewalk_cuda_racecheck)
if [ -n "$emulated" ]; then module=$build/tests/support/libropewalk_cuda.so targets=(ropewalk_cuda_emulated_module); fi
tests=("kernels/kernels_cuda_${kind}_test" "parallel/communicator/communicator_staged_${kind}_test"
       "parallel/communicator/communicator_nccl_${kind}_test" "equivalence/cuda_${kind}_equivalence_test")
if [ -z "$emulated" ] && ! grep -q '^CMAKE_CUDA_COMPILER:.*=/' "$build/CMakeCache.txt"; then
  echo "bundle_gpu: $build was configured without nvcc; put it on the path, or set CUDACXX, and remove $build/CMakeCache.txt" >&2
  exit 1
fi
cmake --build "$build" -j"$(nproc)" --target ropewalk ropewalk_device_benchmark "${targets[@]}" "${tests[@]##*/}"

top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
to=$top/ropewalk_gpu
mkdir -p "$to"/{bin,lib/plugins,lib/pmix,share,tests/launch,tests/support,benchmark,variants}
cp "$build/ropewalk" "$build/tests/benchmark/ropewalk_device_benchmark" "$to/bin/"
cp "$(readlink -f "$(command -v mpirun)")" "$to/bin/mpirun"
for test in "${tests[@]}"; do
  name=${test##*/}
  cp "$build/tests/$test" "$to/bin/${name/_emulated_/_device_}"
done
cp "$module" "$to/lib/"
[ -n "$emulated" ] || cp -r "$build/racecheck" "$to/"
for variant in "${variants[@]}"; do
  mkdir "$to/variants/${variant%%=*}"
  cp "$(cd "$start" && realpath "${variant#*=}")" "$to/variants/${variant%%=*}/libropewalk_cuda.so"
done

# Open MPI's plug-ins for ranks on one host, and its data files.
plugins=$(ompi_info --path pkglibdir --parsable | sed 's/^path:pkglibdir://')
shared=$(ompi_info --path pkgdatadir --parsable | sed 's/^path:pkgdatadir://')
[ -d "$plugins/openmpi3" ] && plugins=$plugins/openmpi3
for plugin in "$plugins"/mca_*.so; do
  name=${plugin##*/mca_}
  case $name in
    *ucx* | *ofi* | *psm* | *openib* | *slurm* | *flux* | *jsm* | *gridengine* | *memheap* | *scoll* | *spml* | *sshmem* | *monitoring* | \
    io_* | fs_* | fbtl_* | fcoll_* | sharedfp_* | osc_* | vprotocol_* | compress_* | atomic_* | crs_*) ;;
    *) cp "$plugin" "$to/lib/plugins/" ;;
  esac
done
cp -rL "$shared" "$to/share/openmpi"
pmix=/usr/lib/$(gcc -print-multiarch)/pmix2/lib/pmix
[ ! -d "$pmix" ] || cp "$pmix"/*.so "$to/lib/pmix/"

# All libraries that these load, except the C library, which is the host's, and CUDA's libraries, which run.sh finds on the host.
host='/(libc|libm|libdl|libpthread|librt|libutil|libresolv|ld-linux[^/]*)\.so' cuda='^lib(cu(da|dart|blas|blasLt)|nccl)\.so'
loaded=$(ldd "$to"/bin/* "$to"/lib/*.so "$to"/lib/{plugins,pmix}/*.so | awk '$2 == "=>" { print $1, $3 }' | sort -u | grep -Ev "$cuda|^libropewalk")
if grep ' not$' <<< "$loaded" >&2; then echo "bundle_gpu: these libraries are needed and were not found" >&2; exit 1; fi
mapfile -t libraries < <(awk '{ print $2 }' <<< "$loaded" | sort -u | grep -Ev "$host")
cp -L "${libraries[@]}" "$to/lib/"
relocate() {  # FOLDER PATH: strips the programs and libraries in FOLDER, and makes them look for libraries in PATH
  for file in "$to/$1"/*; do
    [ -f "$file" ] || continue
    strip --strip-unneeded "$file"
    patchelf --set-rpath "$2" "$file"
  done
}
# shellcheck disable=SC2016  # the loader expands $ORIGIN
{ relocate bin '$ORIGIN/../lib:$ORIGIN/../lib/cuda'
  relocate lib '$ORIGIN:$ORIGIN/cuda'
  relocate lib/plugins '$ORIGIN/..'
  relocate lib/pmix '$ORIGIN/..'
  [ -n "$emulated" ] || relocate racecheck '$ORIGIN/../lib:$ORIGIN/../lib/cuda'
  for variant in "$to"/variants/*; do [ -d "$variant" ] && relocate "variants/${variant##*/}" '$ORIGIN/../../lib:$ORIGIN/../../lib/cuda'; done; }

cp launch/run_gpu_bundle.sh "$to/run.sh"
cp tests/launch/{gpu_test,gpu_emulated_test,gpu_tests,gpus,program}.py "$to/tests/launch/"
cp tests/support/processes.py "$to/tests/support/"
cp tests/benchmark/{device_report,table}.py "$to/benchmark/"
cp configs/on_a_gpu.textproto "$to/"
if [ -n "$text" ]; then cp "$text" "$to/text.txt"; else bible -f Gen1:1-Rev22:21 > "$to/text.txt"; fi
{ echo "kind=$kind"
  echo "commit=$(git describe --always --dirty --abbrev=12 2> /dev/null || echo unknown)"; } > "$to/about"

if [ -n "$folder" ]; then
  rm -rf "$output"
  mv "$to" "$output"
  echo "bundle_gpu: $output"
  exit 0
fi
tar -C "$top" --sort=name --owner=0 --group=0 -c ropewalk_gpu | xz -6 -T0 > "$output.part"
mv "$output.part" "$output"
# Batch systems limit the size of files sent with a job. An archive several times as large also has something packed by mistake.
bytes=$(stat -c %s "$output")
printf 'bundle_gpu: %s, %.1f MiB of at most 48\n' "$output" "$(awk -v b="$bytes" 'BEGIN { print b / 2^20 }')"
[ "$bytes" -le $((48 << 20)) ] || { echo "bundle_gpu: the archive is too large; leave out variants" >&2; exit 1; }
