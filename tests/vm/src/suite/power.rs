//! The power button, as QEMU's monitor presses it, and SIGTERM for `egg`: the program gets SIGTERM,
//! and time to end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::build::{self, Variant};
use crate::monitor::Monitor;
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{BOOT_LIMIT, Mode, Vm};

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
    let until = Instant::now() + BOOT_LIMIT;
    while machine.output().matches("ready").count() < 2 {
        machine.still_runs()?;
        if Instant::now() > until {
            bail!("the program did not start:\n{}", machine.output());
        }
        thread::sleep(Duration::from_millis(20));
    }
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
