#!/bin/sh
# Runs the hal self-test kernel on emulated machines. Exit status 0 when all of them pass.
#
#   tests/selftest.sh [kernel]
#
# Without an argument it builds the kernel first.
set -eu
cd "$(dirname "$0")/.."

kernel=${1:-}
if [ -z "$kernel" ]; then
    scripts/kernel-cargo build --bin selftest
    kernel=${CARGO_TARGET_DIR:-target}/x86_64-unknown-none/kernel/selftest
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
head -c 70000 /dev/urandom > "$work/archive"
failed=0

# machine <machine> <memory> [more QEMU arguments]
machine() {
    name="$1 $2"
    type=$1
    memory=$2
    shift 2
    status=0
    timeout 120 qemu-system-x86_64 -M "$type" -cpu max -accel tcg -m "$memory" -kernel "$kernel" \
        -nodefaults -no-reboot -display none -serial "file:$work/console" \
        -device isa-debug-exit,iobase=0xf4,iosize=4 "$@" </dev/null || status=$?
    if [ "$status" -eq 33 ]; then
        echo "ok   $name $*"
    else
        echo "FAIL $name $*: status $status"
        cat "$work/console"
        failed=1
    fi
}

microvm=microvm,acpi=off,x-option-roms=off,rtc=on,acpi=off
for memory in 12M 64M 3G 6G; do
    machine "$microvm" "$memory" -initrd "$work/archive"
    machine q35 "$memory"
    machine pc "$memory" -initrd "$work/archive"
done
machine microvm 64M -append 'wall=1800000000000000000 some words'
machine microvm,pit=off,pic=off,rtc=off 64M -smp 4
machine pc 64M -smp 2
machine "$microvm" 64M -icount shift=0
# Processors with less: no SMAP, no FSGSBASE, no XSAVE, no 1 GiB pages.
machine q35 256M -cpu qemu64
machine q35 256M -cpu max,-smap,-smep,-umip
machine q35 256M -cpu max,-xsave,-avx,-avx2,-fsgsbase
machine q35 256M -cpu max,-xsaveopt,-pdpe1gb,-rdrand,-rdseed
exit "$failed"
