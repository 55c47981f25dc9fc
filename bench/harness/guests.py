"""The machines that are compared: which words QEMU gets for each."""

import functools
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from . import archive, namespace, paths
from .archive import character_device, directory, program
from .elf import Elf

#: Under TCG "rep movsb" runs a byte at a time, and both Linux and Go choose it when CPUID shows
#: ERMS: hidden from both guests, which helps both.
PROCESSOR = "max,-erms,-fsrm"
COMMON = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
          "-serial", "stdio", "-cpu", PROCESSOR]
NETDEV = ["-netdev", f"tap,id=n0,ifname={namespace.TAP},script=no,downscript=no"]
INSTRUCTION_COUNT = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
PLAIN = ["-accel", "tcg,thread=multi"]


def repeatable(seed: int = 1) -> list[str]:
    """Every run goes the same way: chance comes from the seed, and the clock starts at a fixed time."""
    return [*INSTRUCTION_COUNT, "-seed", str(seed), "-rtc", "base=2026-01-01,clock=vm"]


@dataclass(frozen=True)
class Program:
    """A Go program, with the arguments it gets in the guest."""

    name: str
    arguments: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return paths.need(paths.BIN / self.name)


SERVER = Program("server")


@dataclass
class Guest:
    """A kind of machine, on the harness's network or on none."""

    name: str
    network: bool = True

    def kernel(self) -> Path:
        """The ELF that boots."""
        raise NotImplementedError

    def words(self, what: Program) -> list[str]:
        """QEMU's words for machine, kernel and archive."""
        raise NotImplementedError

    def card(self) -> str:
        """QEMU's device that is the network card."""
        raise NotImplementedError

    def command(self, what: Program, memory: int, cpus: int, mode: list[str] | None = None) -> list[str]:
        """The whole command; memory in MiB."""
        network = [*NETDEV, "-device", f"{self.card()},netdev=n0,mac={namespace.MAC}"] if self.network else []
        return [*COMMON, *(mode or PLAIN), "-m", f"{memory}M", "-smp", str(cpus), *self.words(what), *network]


MODULES = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
           "failover", "net_failover", "virtio_net"]

INIT = """#!/bin/sh
b=/bin/busybox
for m in {modules}; do $b insmod /m/$m.ko; done
$b mount -t proc p /proc
$b mount -t tmpfs t /tmp
$b ip link set lo up
$b ip addr add {address}/{prefix} dev eth0
$b ip link set eth0 up
exec {program}
"""


@dataclass
class Linux(Guest):
    """The best Linux that was found: uncompressed kernel by PVH, raw initramfs, TSC as clock, no
    mitigations, nothing in it but the modules of the network card and busybox to load them."""

    name: str = "linux"

    def kernel(self) -> Path:
        return paths.need(paths.VMLINUX)

    def words(self, what: Program) -> list[str]:
        line = ("console=ttyS0 panic=-1 quiet mitigations=off no_timer_check nokaslr "
                "tsc=reliable clocksource=tsc")
        return ["-M", "pc", "-kernel", str(self.kernel()), "-initrd", str(self.initramfs(what)), "-append", line]

    def card(self) -> str:
        return "virtio-net-pci"

    @staticmethod
    @functools.cache
    def initramfs(what: Program) -> Path:
        init = INIT.format(modules=" ".join(MODULES), address=namespace.GUEST_ADDRESS, prefix=namespace.PREFIX,
                           program=shlex.join(["/app", *what.arguments]))
        entries = [directory(name) for name in ("bin", "dev", "m", "proc", "sys", "tmp")]
        entries += [character_device("dev/console", 5, 1), character_device("dev/null", 1, 3),
                    character_device("dev/zero", 1, 5), character_device("dev/random", 1, 8),
                    character_device("dev/urandom", 1, 9)]
        for module in MODULES:
            entries.append(program(f"m/{module}.ko", paths.need(paths.MODULES / f"{module}.ko").read_bytes()))
        entries += [program("bin/busybox", paths.need(paths.BIN / "busybox").read_bytes()),
                    archive.Entry("bin/sh", 0o120777, b"busybox"),
                    program("init", init.encode()), program("app", what.path.read_bytes())]
        path = paths.temporary() / f"initramfs-{what.name}.cpio"
        archive.write(path, entries)
        return path


@dataclass
class Eggos(Guest):
    """The kernel of this tree, as `egg build` packs it and on the machine that `egg run` makes."""

    name: str = "eggos"
    machine: str = "microvm"
    egg: Path = field(default_factory=lambda: Path("egg"))

    #: QEMU's machine, the source of randomness, and the network card's device.
    MACHINES = {
        "microvm": ("-M microvm,acpi=off,x-option-roms=off,rtc=on -global virtio-mmio.force-legacy=false "
                    "-device virtio-rng-device", "virtio-net-device"),
        "q35": ("-M q35,vmport=off,smbus=off,sata=off,usb=off -device virtio-rng-pci,disable-legacy=on",
                "virtio-net-pci,romfile=,disable-legacy=on"),
        "pc": ("-M pc,vmport=off,usb=off -device virtio-rng-pci,disable-legacy=on",
               "virtio-net-pci,romfile=,disable-legacy=on"),
    }

    def kernel(self) -> Path:
        return self.parts(SERVER)[0]

    def words(self, what: Program) -> list[str]:
        kernel, files = self.parts(what)
        machine, _ = self.MACHINES[self.machine]
        line = (f"eggos.network=static eggos.address={namespace.GUEST_ADDRESS}/{namespace.PREFIX} "
                f"eggos.gateway={namespace.HOST_ADDRESS}") if self.network else "eggos.network=off"
        return [*machine.split(), "-kernel", str(kernel), "-initrd", str(files), "-append", line,
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]

    def card(self) -> str:
        return self.MACHINES[self.machine][1]

    def parts(self, what: Program) -> tuple[Path, Path]:
        """Kernel and archive, taken out of the image that `egg build` makes."""
        return split_image(self.egg, what)


@functools.cache
def split_image(egg: Path, what: Program) -> tuple[Path, Path]:
    image = paths.temporary() / f"{what.name}.egg"
    command = [str(egg), "build", "-o", str(image), str(what.path), *(["--", *what.arguments] if what.arguments else [])]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    entries = archive.read(image)
    image.unlink()
    # QEMU gets the kernel by itself; a second copy would only cost the guest memory.
    kernel, files = image.with_suffix(".kernel"), image.with_suffix(".cpio")
    kernel.write_bytes(next(entry.content for entry in entries if entry.name == "boot/kernel"))
    archive.write(files, [entry for entry in entries if entry.name != "boot/kernel"], page_aligned=True)
    return kernel, files


def go_marks(what: Program) -> dict[str, tuple[int, str]]:
    """Addresses of the program's entry and of main.main, each with the bytes of code there."""
    elf = Elf(what.path)
    marks = {}
    for name, symbol in (("entry", "_rt0_amd64_linux"), ("main", "main.main")):
        address = elf.address_of(symbol)
        marks[name] = (address, elf.bytes_at(address, 12).hex())
    return marks
