//! What the kernel says of the machine: `egg inspect --hardware`, an image that does the same, and the
//! page on which a machine without `egg` stops.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build::{self, Variant};
use crate::monitor::Monitor;
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Vm};

/// Rows of each machine: their name and a part of their text.
const ROWS: &[(&str, &[(&str, &str)])] = &[
    ("microvm", &[("acpi", "none"), ("pci", "none"), ("networks", "1"), ("screen", "none")]),
    (
        "q35",
        &[
            ("acpi", "MCFG"),
            ("soft-off", "ports 0x604 0x0, types [0, 0]"),
            ("reset", "Port(cf9), 0xf"),
            ("button", "yes"),
            ("pci access", "memory at 0x"),
            ("local apic", "2 processors told, 2 up"),
            ("pci", "8086:29c0 class 060000 host bridge: needs none"),
            ("pci", "1af4:1041 class 020000 Ethernet controller: virtio-net"),
        ],
    ),
    (
        "pc",
        &[
            ("acpi", "APIC"),
            ("pci access", "ports"),
            ("pci", "8086:1237 class 060000 host bridge: needs none"),
            ("pci", "8086:7010 class 010180 IDE controller: no driver"),
        ],
    ),
];

/// The same for all of them.
const COMMON: &[(&str, &str)] = &[
    ("processor", "signature"),
    ("memory", "0x0000100000.."),
    ("tsc", "measured by"),
    ("wall clock", "battery-backed clock"),
    ("io apic", "0xfec00000, 24 lines"),
    ("serial", "yes"),
    ("randomness", "1 devices"),
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (kind, rows) in ROWS {
        let set = if *kind == "pc" { Set::All } else { Set::Core };
        let run = move |mode: &Mode| inspect(mode, kind, rows);
        tests.push(Test::new(format!("hardware/{kind}"), set, run).with_own_machine());
    }
    tests.push(Test::new("hardware/image".into(), Set::Core, image).in_machine());
    for (kind, set) in [("microvm", Set::Core), ("pc", Set::All)] {
        let run = move |mode: &Mode| told_by_qemu(mode, kind);
        tests.push(Test::new(format!("hardware/fw_cfg/{kind}"), set, run).with_own_machine());
    }
    tests.push(Test::new("hardware/page".into(), Set::Core, page).with_own_machine());
    tests
}

/// Demands the rows.
fn demand(output: &str, rows: &[(&str, &str)]) -> Result<()> {
    for (name, part) in rows {
        let start = format!("eggos: {name:<11} ");
        let found = output.lines().any(|line| line.starts_with(&start) && line.contains(part));
        ensure!(found, "no row {name:?} with {part:?} in\n{output}");
    }
    Ok(())
}

/// What `egg` prints with these arguments.
fn said(mode: &Mode, arguments: &[&str]) -> Result<String> {
    let Mode::Machine { egg, .. } = mode else { return Ok(String::new()) };
    let output = Command::new(egg).args(arguments).output()?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

fn inspect(mode: &Mode, kind: &str, rows: &[(&str, &str)]) -> Result<()> {
    let arguments = ["inspect", "--hardware", "--accel", "tcg", "--cpus", "2", "--machine", kind];
    let output = said(mode, &arguments)?;
    demand(&output, COMMON)?;
    demand(&output, rows)
}

/// An image without a program.
fn image(mode: &Mode) -> Result<()> {
    let folder = build::target().join("hardware");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("page.elf");
    let file = file.to_str().context("a path")?;
    said(mode, &["build", "--hardware", "-o", file])?;
    demand(&said(mode, &["run", "--accel", "tcg", file])?, COMMON)
}

/// A machine without the host command, with devices that nobody drives: told on the command line, it
/// stops with the page, and the power button ends it.
fn page(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/hello", build::NEWEST, Variant::Plain)?;
    let folder = build::target().join("hardware/page");
    let mut machine = Vm::of(&elf, mode).machine("q35").start_qemu(&folder, |line| {
        line.replace("-device isa-debugcon,iobase=0xe9,chardev=control", "").replace(
            "-no-reboot",
            "-no-reboot -append eggos.hardware -device ich9-intel-hda -vga std",
        )
    })?;
    machine.wait_for_text("the power button ends it")?;
    demand(
        &machine.output(),
        &[
            ("control", "no"),
            ("pci", "8086:293e class 040300 multimedia device: no driver"),
            ("pci", "1234:1111 class 030000 VGA controller: bochs-display"),
            ("screen", "1280x800"),
            ("keyboard", "PS/2"),
        ],
    )?;
    ensure!(!machine.output().contains("hello"), "the program ran");
    // It may end before it has answered.
    let _ = Monitor::of(&folder)?.execute("system_powerdown", "");
    machine.expect(Exit::Code(33), LIMIT)
}

/// Settings come by QEMU's configuration device, where the loader has no command line or beside it.
fn told_by_qemu(mode: &Mode, kind: &str) -> Result<()> {
    let elf = build::go("programs/exitcode", build::NEWEST, Variant::Plain)?;
    for append in ["", " -append eggos.args=3"] {
        let folder = build::target().join(format!("hardware/fw_cfg-{kind}"));
        let mut machine = Vm::of(&elf, mode).machine(kind).start_qemu(&folder, |line| {
            let more = "-fw_cfg name=opt/eggos/cmdline,string=eggos.args=5";
            line.replace("-no-reboot", &format!("-no-reboot {more}{append}"))
        })?;
        // The program exits with its only argument, or with 111 when it has more.
        let end = if append.is_empty() { "exit 5" } else { "exit 111" };
        machine.expect_orderly(end, LIMIT)?;
    }
    Ok(())
}
