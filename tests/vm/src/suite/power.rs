//! The power button, as QEMU's monitor presses it, and SIGTERM for `egg`: the program gets SIGTERM,
//! and time to end.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::{self, Variant};
use crate::process::{Exit, Process};
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{BOOT_LIMIT, Mode, Vm};

/// QEMU's status when the kernel ends the machine in order.
const ORDERLY: Exit = Exit::Code(33);
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
    std::fs::create_dir_all(&folder)?;
    let line = Vm::of(&elf, mode).machine(kind).args([how]).qemu_command(&folder)?;
    let monitor = folder.join("monitor");
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!(
        "exec {} -qmp unix:{},server=on,wait=off",
        line.trim(),
        monitor.display()
    ));
    let mut machine = Process::start(command)?;
    // The kernel says so before the program does.
    let until = Instant::now() + BOOT_LIMIT;
    while machine.output().matches("ready").count() < 2 {
        if machine.ended()?.is_some() || Instant::now() > until {
            bail!("the program did not start:\n{}", machine.output());
        }
        thread::sleep(Duration::from_millis(20));
    }
    press(&monitor).context("the monitor")?;
    let pressed = Instant::now();
    let status = machine.wait(LIMIT)?;
    let output = machine.output();
    if status != ORDERLY || !output.contains(&format!("{end}\n")) {
        bail!("{status:?} instead of {end:?} with {ORDERLY:?}:\n{output}");
    }
    if end.starts_with("signal") && pressed.elapsed() < GRACE {
        bail!("it had {:?} only", pressed.elapsed());
    }
    Ok(())
}

/// Presses the button by way of QEMU's monitor (docs/interop/qmp-spec.rst there).
fn press(monitor: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(monitor)?;
    let mut answers = BufReader::new(stream.try_clone()?).lines();
    for command in ["qmp_capabilities", "system_powerdown"] {
        stream.write_all(format!("{{\"execute\": \"{command}\"}}\n").as_bytes())?;
        loop {
            let answer = answers.next().context("no answer")??;
            if answer.contains("\"error\"") {
                bail!("{command}: {answer}");
            }
            if answer.contains("\"return\"") {
                break;
            }
        }
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
