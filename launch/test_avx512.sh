#!/bin/bash
# Installs what is missing, builds, and runs the cpu backend's tests with AVX-512: on this machine if it has that, else on
# one emulated instruction by instruction (Bochs, a Skylake-X), which shows what is right, not what is fast.
#   launch/test_avx512.sh [FILTER]      FILTER: of GoogleTest, default *AVX3*, the name of these instructions in Highway
set -euo pipefail
case "${1:-}" in
  --help | -h) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 0 ;;
  -*) echo "test_avx512: '$1' is no filter; --help shows the usage" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
filter=${1:-*AVX3*}

launch/setup.sh build test avx512
cmake --preset release -DROPEWALK_TESTS=ON > /dev/null
cmake --build --preset release -j"$(nproc)" --target kernels_cpu_test
program=build/release/tests/kernels/kernels_cpu_test
if grep -q avx512bw /proc/cpuinfo; then exec "$program" --gtest_filter="$filter"; fi
[ $# -gt 0 ] || filter+='-*CpuSignals*'  # an emulated machine is too slow: it would only handle their signals

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A Linux kernel, and an initramfs with the program, its libraries and a shell; no disk is needed.
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -1)
(cd "$work" && apt-get -o APT::Sandbox::User=root download "$kernel" > /dev/null && dpkg-deb -x ./*.deb kernel)
mkdir -p "$work"/{disk/boot/grub,root/{bin,proc,sys,dev}}
cp "$work"/kernel/boot/vmlinuz-* "$work/disk/boot/vmlinuz"
cp /bin/busybox "$work/root/bin/"
strip -o "$work/root/bin/tests" "$program"
ldd "$program" | awk '/=>/ { print $3 } /ld-linux/ { print $1 }' | sort -u | while read -r library; do
  mkdir -p "$work/root$(dirname "$library")"
  cp -L "$library" "$work/root$library"
done
cat > "$work/root/init" << END
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/tests --gtest_color=no --gtest_filter='$filter'
echo "exit code \$?"
/bin/busybox sleep 3  # otherwise the last lines are lost
/bin/busybox poweroff -f
END
chmod +x "$work/root/init"
(cd "$work/root" && find . | busybox cpio -o -H newc 2> /dev/null | gzip -1 > "$work/disk/boot/root.gz")
# clearcpuid disables XSAVEC and XSAVES, for which Bochs 2.7 reports wrong sizes; otherwise Linux would disable AVX.
cat > "$work/disk/boot/grub/grub.cfg" << 'END'
set timeout=0
terminal_output console
menuentry tests {
  linux /boot/vmlinuz console=ttyS0,115200 quiet rdinit=/init mitigations=off random.trust_cpu=1 no_timer_check nopku clearcpuid=321,323
  initrd /boot/root.gz
}
END
grub-mkrescue -o "$work/disk.iso" "$work/disk" > "$work/grub.log" 2>&1 || { cat "$work/grub.log" >&2; exit 1; }
cat > "$work/bochsrc" << END
megs: 2048
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_skylake_x, count=1, ips=50000000
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/disk.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
log: $work/bochs.log
panic: action=fatal
display_library: term
END
echo c > "$work/go"  # "continue" for the debugger that is built into Debian's Bochs
: > "$work/serial"
echo "running on an emulated Skylake-X, which takes a minute or two to boot"
tail -n +1 -f "$work/serial" &
reader=$!
trap 'kill $reader 2> /dev/null || true; rm -rf "$work"' EXIT
TERM=xterm script -qefc "timeout --foreground --kill-after=10 3600 bochs -q -f $work/bochsrc -rc $work/go" /dev/null < /dev/null > "$work/screen" 2>&1 || true
sleep 1
kill $reader
grep -q '^exit code 0' "$work/serial" || { echo "the tests have not passed; the end of the emulator's log:" >&2; tail -3 "$work/bochs.log" >&2; exit 1; }
grep -q '\[  PASSED  \] [1-9]' "$work/serial" || { echo "no test ran" >&2; exit 1; }
