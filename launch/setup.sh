#!/bin/bash
# Installs what is missing of Debian 12's packages:  launch/setup.sh [GROUP]...
#   build   to build and run ropewalk and the commands of its guide (always)
#   test    to run the tests
#   fuzz    clang with libFuzzer, for tests/fuzz (260 MB)
#   text    the text of launch/quickstart.sh
#   slurm   a Slurm of this host's own, for tests/launch/slurm_test.py
#   avx512  to emulate a machine with AVX-512
#   bundle  for launch/bundle_gpu.sh
# Says what it will run; needs root or sudo only if something is missing.
set -euo pipefail

for group in "$@"; do
  case $group in --help | -h) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
done
packages=(g++ cmake ninja-build pkgconf ccache openmpi-bin libopenmpi-dev protobuf-compiler libprotobuf-dev libhwy-dev
          libfmt-dev libboost-dev libboost-program-options-dev nlohmann-json3-dev libsimdjson-dev libpcre2-dev libicu-dev
          libzstd-dev zlib1g-dev libxxhash-dev python3)
for group in "$@"; do
  case $group in
    build) ;;
    test) packages+=(libgtest-dev libboost-context-dev iproute2 strace) ;;
    fuzz) packages+=(clang libclang-rt-14-dev) ;;
    text) packages+=(bible-kjv bible-kjv-text) ;;
    bundle) packages+=(patchelf binutils xz-utils) ;;
    slurm) packages+=(slurm-wlm munge) ;;
    avx512) packages+=(bochs bochsbios vgabios bochs-term grub-pc-bin grub-common xorriso mtools busybox-static bsdutils) ;;
    *) echo "setup: there is no group '$group'; the groups are build, test, fuzz, text, slurm, avx512 and bundle" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query apt-get > /dev/null; then
  echo "setup: this is not Debian; install the equivalents of these packages, then build by hand (README.md):" >&2
  echo "  ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2> /dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo > /dev/null; then
    echo "setup: not root, and sudo is not installed; as root, run:  apt-get update && apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
as_root+=(env DEBIAN_FRONTEND=noninteractive)
run() {
  echo "setup: $*"
  "$@" > /dev/null
}
run "${as_root[@]}" apt-get update
run "${as_root[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"
