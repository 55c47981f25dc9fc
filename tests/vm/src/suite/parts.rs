//! Machines that lack a part, and machines that have more than they need: the server answers on each.

use anyhow::{Context, Result};

use crate::build::{self, Variant};
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Vm};

/// What is changed in QEMU's words: a part of them, and what stands there then.
type Change = (&'static str, &'static str);

const SERIAL: Change = ("-serial chardev:console", "");
const CONTROL: Change = ("-device isa-debugcon,iobase=0xe9,chardev=control", "");
const NETWORK: Change = ("-netdev user,id=net", "");
const DISKS: Change = (
    "-no-reboot",
    "-no-reboot -drive if=none,id=a,driver=null-co,size=1M -device virtio-blk-pci,drive=a \
     -drive if=none,id=b,driver=null-co,size=1M -device ich9-ahci,id=ahci -device ide-hd,drive=b,bus=ahci.0",
);

/// Firmware that drives them keeps memory where QEMU puts the image.
const NVME: Change = (
    "-no-reboot",
    "-no-reboot -drive if=none,id=a,driver=null-co,size=1M -device nvme,drive=a,serial=a \
     -drive if=none,id=b,driver=null-co,size=1M -device nvme,drive=b,serial=b",
);

/// Name, machine, set, changes. The machines of `egg` have neither disk nor screen.
const LACKING: &[(&str, &str, Set, &[Change])] = &[
    ("rtc", "microvm", Set::Core, &[("rtc=on", "rtc=off")]),
    ("serial", "microvm", Set::All, &[("rtc=on", "rtc=on,isa-serial=off"), SERIAL]),
    ("serial", "q35", Set::Core, &[SERIAL]),
    ("control", "q35", Set::All, &[CONTROL]),
    ("keyboard", "q35", Set::Core, &[("-M q35,", "-M q35,i8042=off,")]),
    ("keyboard", "pc", Set::All, &[("-M pc,", "-M pc,i8042=off,")]),
    ("random", "microvm", Set::All, &[("-device virtio-rng-device", "")]),
    ("random", "pc", Set::All, &[("-device virtio-rng-pci,disable-legacy=on", "")]),
    ("pit", "microvm", Set::Core, &[("rtc=on", "rtc=on,pit=off")]),
    ("pic", "microvm", Set::All, &[("rtc=on", "rtc=on,pic=off")]),
    ("clocks", "microvm", Set::Core, &[("rtc=on", "rtc=off,pit=off,pic=off")]),
    ("hpet", "q35", Set::All, &[("-M q35,", "-M q35,hpet=off,")]),
    ("acpi", "q35", Set::All, &[("-M q35,", "-M q35,acpi=off,")]),
    ("acpi", "pc", Set::All, &[("-M pc,", "-M pc,acpi=off,")]),
];

/// The same with more.
const MORE: &[(&str, &str, Set, &[Change])] = &[
    ("disks", "q35", Set::Core, &[DISKS]),
    ("disks", "pc", Set::All, &[DISKS]),
    ("nvme", "q35", Set::Core, &[NVME]),
    ("nvme", "pc", Set::Core, &[NVME]),
    ("screens", "q35", Set::All, &[("-no-reboot", "-no-reboot -device VGA -device bochs-display")]),
    ("serials", "pc", Set::All, &[("-no-reboot", "-no-reboot -serial null")]),
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (group, rows) in [("without", LACKING), ("with", MORE)] {
        for &(part, kind, set, changes) in rows {
            let run = move |mode: &Mode| serve(mode, &format!("{group}-{part}"), kind, changes);
            tests.push(Test::new(format!("{group}/{part}/{kind}"), set, run).with_own_machine());
        }
    }
    let run = |mode: &Mode| {
        let cards = "-device virtio-net-device,netdev=net";
        hello(mode, "microvm", &[(cards, ""), NETWORK])
    };
    tests.push(Test::new("without/io-apic/isapc".into(), Set::Core, oldest).with_own_machine());
    tests.push(Test::new("without/card/microvm".into(), Set::Core, run).with_own_machine());
    tests
}

fn changed(line: &str, changes: &[Change]) -> Result<String> {
    changes.iter().try_fold(line.to_owned(), |line, (from, to)| {
        line.contains(from).then(|| line.replace(from, to)).context(*from)
    })
}

fn start(vm: Vm, name: &str, kind: &str, changes: &[Change]) -> Result<crate::vm::Running> {
    let folder = build::target().join("parts").join(format!("{kind}-{name}"));
    let mut missing = None;
    let running = vm.start_qemu(&folder, |line| {
        changed(line, changes).unwrap_or_else(|error| {
            missing = Some(error);
            String::from("false")
        })
    })?;
    missing.map_or(Ok(running), Err)
}

fn serve(mode: &Mode, name: &str, kind: &str, changes: &[Change]) -> Result<()> {
    let elf = build::go("programs/httpserve", build::NEWEST, Variant::Plain)?;
    let mut vm = Vm::of(&elf, mode).machine(kind);
    let (plain, secure) = (vm.listen(80)?, vm.listen(443)?);
    let vm = vm.args(["-serve", "-http", &plain, "-https", &secure]);
    let mut machine = start(vm, name, kind, changes)?;
    machine.get_until_ready(80, "/")?;
    machine.get(80, "/exit?code=3")?;
    if changes.contains(&CONTROL) {
        // Nobody is told the program's status; that of an orderly end is QEMU's.
        return machine.expect(Exit::Code(33), LIMIT);
    }
    machine.expect_orderly("exit 3", LIMIT)
}

fn hello(mode: &Mode, kind: &str, changes: &[Change]) -> Result<()> {
    let elf = build::go("programs/hello", build::NEWEST, Variant::Plain)?;
    let vm = Vm::of(&elf, mode).machine(kind);
    start(vm, "card", kind, changes)?.expect_orderly("exit 0", LIMIT)
}

/// A PC without PCI, and with the interrupt controllers of 1984 alone: what is typed comes by them.
fn oldest(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let vm = Vm::of(&elf, mode).machine("pc").flags(["--verbose"]).args(["input"]);
    let changes = [
        ("-M pc,vmport=off,usb=off", "-M isapc"),
        ("-device virtio-net-pci,netdev=net,romfile=,disable-legacy=on", ""),
        ("-device virtio-rng-pci,disable-legacy=on", ""),
        NETWORK,
    ];
    let mut machine = start(vm, "io-apic", "isapc", &changes)?;
    machine.wait_for_text("io apic     none: the old controllers (8259) are used")?;
    machine.wait_for_text("ready")?;
    machine.write("some words\nend\n")?;
    machine.wait_for_text("line \"some words\"")?;
    machine.expect_orderly("exit 0", LIMIT)
}
