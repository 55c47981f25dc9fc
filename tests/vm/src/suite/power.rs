//! The power button, as QEMU's monitor presses it, and SIGTERM for `egg`: the program gets SIGTERM,
//! and time to end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::build::{self, Variant};
use crate::monitor::Monitor;
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{BOOT_LIMIT, Mode, Running, Vm};

/// What a program is given, and what a busy host may add.
const GRACE: Duration = Duration::from_secs(10);

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for kind in ["q35", "pc"] {
        let press = move |mode: &Mode| button(mode, kind, "wait", "exit 3");
        tests.push(Test::new(format!("power/button/{kind}"), Set::Core, press).with_own_machine());
        let press = move |mode: &Mode| button(mode, kind, "stubborn", "signal 9");
        tests.push(Test::new(format!("power/ignored/{kind}"), Set::All, press).with_own_machine());
    }
    for (kind, set) in [("microvm", Set::All), ("pc", Set::All), ("q35", Set::Core)] {
        let run = move |mode: &Mode| restarts(mode, kind);
        tests.push(Test::new(format!("power/restart/{kind}"), set, run).with_own_machine());
    }
    tests.push(Test::new("power/restart/panic".into(), Set::Core, after_panic).with_own_machine());
    for (device, kind, set) in [
        ("pvpanic", "pc", Set::All),
        ("pvpanic", "q35", Set::Core),
        ("pvpanic-pci", "q35", Set::Core),
    ] {
        let run = move |mode: &Mode| told_of_panic(mode, kind, device);
        tests.push(Test::new(format!("power/{device}/{kind}"), set, run).with_own_machine());
    }
    tests.push(Test::new("power/off/q35".into(), Set::Core, switched_off).with_own_machine());
    tests.push(Test::new("power/off/pc".into(), Set::All, switched_off_pc).with_own_machine());
    tests.push(Test::new("power/halt".into(), Set::All, halted).with_own_machine());
    tests.push(Test::new("power/restart/watched".into(), Set::Core, watched).in_machine());
    tests.push(Test::new("power/terminate-ignored".into(), Set::Core, ignored).in_machine());
    tests
}

/// `end`: what the kernel then says of the program's end.
fn button(mode: &Mode, kind: &str, how: &str, end: &str) -> Result<()> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let folder = build::target().join(format!("power-button/{kind}-{how}"));
    let vm = Vm::of(&elf, mode).machine(kind).args([how]);
    let mut machine = vm.start_qemu(&folder, str::to_owned)?;
    // The kernel says so before the program does.
    wait_for_starts(&mut machine, "ready", 2)?;
    Monitor::of(&folder)?.execute("system_powerdown", "")?;
    let pressed = Instant::now();
    machine.expect_orderly(end, LIMIT)?;
    if end.starts_with("signal") && pressed.elapsed() < GRACE {
        bail!("it had {:?} only", pressed.elapsed());
    }
    Ok(())
}

/// SIGTERM for `egg`, and a program that takes no notice.
fn ignored(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let mut running = Vm::of(&elf, mode).args(["stubborn"]).start()?;
    running.wait_for_text("ready")?;
    running.signal("TERM")?;
    let told = Instant::now();
    running.expect(Exit::Code(128 + 9), LIMIT)?;
    if told.elapsed() < GRACE {
        bail!("it had {:?} only", told.elapsed());
    }
    if !running.output().contains("did not end within 10 s of SIGTERM") {
        bail!("no word of why it was killed:\n{}", running.output());
    }
    Ok(())
}

/// QEMU learns by a device that the kernel has failed: it says so by its monitor, and ends.
fn told_of_panic(mode: &Mode, kind: &str, device: &str) -> Result<()> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let folder = build::target().join(format!("{device}-{kind}"));
    let vm = Vm::of(&elf, mode).machine(kind).args(["wait"]);
    let mut machine = vm.start_qemu(&folder, |line| {
        line.replace("-no-reboot", &format!("-no-reboot -device {device}"))
    })?;
    wait_for_starts(&mut machine, "ready", 2)?;
    let mut monitor = Monitor::of(&folder)?;
    monitor.execute("inject-nmi", "")?;
    monitor.wait_for_event("GUEST_PANICKED")?;
    // That of an end by the kernel would be another.
    machine.expect(Exit::Code(0), LIMIT)?;
    if !machine.output().contains("  frame 0x") {
        bail!("it was told before the last words:\n{}", machine.output());
    }
    Ok(())
}

const UP: &str = "the program is up";

/// Starts the program that calls reboot(2), in a machine without the host command.
fn reboot(mode: &Mode, kind: &str, how: &str, changes: &[(&str, &str)]) -> Result<Running> {
    let elf = build::go("programs/reboot", build::NEWEST, Variant::Plain)?;
    let folder = build::target().join(format!("reboot/{kind}-{how}"));
    Vm::of(&elf, mode).machine(kind).args([how]).start_qemu(&folder, |line| {
        let control = ("-device isa-debugcon,iobase=0xe9,chardev=control", "");
        let all = changes.iter().chain([&control]);
        all.fold(line.to_owned(), |line, (from, to)| line.replace(from, to))
    })
}

/// The machine starts anew, again and again.
fn restarts(mode: &Mode, kind: &str) -> Result<()> {
    let mut machine = reboot(mode, kind, "restart", &[(" -no-reboot", "")])?;
    wait_for_starts(&mut machine, UP, 3)
}

/// Waits until it has said this so many times.
fn wait_for_starts(machine: &mut Running, text: &str, times: usize) -> Result<()> {
    let until = Instant::now() + BOOT_LIMIT;
    while machine.output().matches(text).count() < times {
        machine.still_runs()?;
        if Instant::now() > until {
            bail!("{text:?} did not come {times} times:\n{}", machine.output());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A machine that stands alone and is told so starts anew when its kernel has failed.
fn after_panic(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let folder = build::target().join("reboot/panic");
    let vm = Vm::of(&elf, mode).machine("q35").flags(["--restart-on-panic"]).args(["wait"]);
    let mut machine = vm.start_qemu(&folder, |line| {
        line.replace("-device isa-debugcon,iobase=0xe9,chardev=control", "")
            .replace(" -no-reboot", "")
    })?;
    wait_for_starts(&mut machine, "ready", 1)?;
    Monitor::of(&folder)?.execute("inject-nmi", "")?;
    // In the kernel or in the program, whichever it hits.
    wait_for_starts(&mut machine, "eggos: kernel panic", 1)?;
    wait_for_starts(&mut machine, "ready", 2)
}

/// Without the device by which `egg` has it ended, ACPI's soft-off ends QEMU, with status 0.
fn switched_off(mode: &Mode) -> Result<()> {
    off(mode, "q35")
}

fn switched_off_pc(mode: &Mode) -> Result<()> {
    off(mode, "pc")
}

fn off(mode: &Mode, kind: &str) -> Result<()> {
    let exit = ("-device isa-debug-exit,iobase=0xf4,iosize=4", "");
    // A reset would start it anew, and not end it.
    let mut machine = reboot(mode, kind, "off", &[exit, (" -no-reboot", "")])?;
    machine.expect(Exit::Code(0), LIMIT)?;
    let times = machine.output().matches(UP).count();
    if times != 1 {
        bail!("it started {times} times:\n{}", machine.output());
    }
    Ok(())
}

/// It stands still, and is not off.
fn halted(mode: &Mode) -> Result<()> {
    let mut machine = reboot(mode, "q35", "halt", &[])?;
    machine.wait_for_text(UP)?;
    thread::sleep(Duration::from_secs(3));
    machine.still_runs()?;
    if machine.output().contains("reboot:") {
        bail!("the call came back:\n{}", machine.output());
    }
    Ok(())
}

/// `egg run` says why the machine ended.
fn watched(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/reboot", build::NEWEST, Variant::Plain)?;
    let mut machine = Vm::of(&elf, mode).args(["restart"]).start()?;
    machine.expect(Exit::Code(0), LIMIT)?;
    if !machine.output().contains("warning: the program restarts the machine") {
        bail!("no word of it:\n{}", machine.output());
    }
    Ok(())
}
