//! Console: input reaches the program, Ctrl-C is SIGINT, twice ends the machine.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::build::{self, Variant};
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Running, Vm};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("console/input".into(), Set::Core, input),
        Test::new("console/interrupt".into(), Set::Core, |mode| {
            let mut running = signals(mode, "wait")?;
            running.signal("INT")?;
            running.expect(Exit::Code(0), LIMIT)
        }),
        Test::new("console/interrupt-default".into(), Set::Core, |mode| {
            let mut running = signals(mode, "default")?;
            running.signal("INT")?;
            // Go's default for SIGINT is to die of it.
            let want = if matches!(mode, Mode::Native) { Exit::Signal(2) } else { Exit::Code(130) };
            running.expect(want, LIMIT)
        }),
        Test::new("console/interrupt-twice".into(), Set::Core, twice).in_machine(),
        Test::new("console/terminate".into(), Set::Core, |mode| {
            let mut running = signals(mode, "wait")?;
            running.signal("TERM")?;
            if matches!(mode, Mode::Native) {
                return running.expect(Exit::Code(3), LIMIT);
            }
            // Whether egg hands SIGTERM on or ends the machine, it must end and not look like success.
            match running.wait(LIMIT)? {
                Exit::Code(0) => bail!("a terminated machine looks like success"),
                _ => Ok(()),
            }
        }),
    ]
}

fn signals(mode: &Mode, how: &str) -> Result<Running> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let mut running = Vm::of(&elf, mode).args([how]).start()?;
    running.wait_for_text("ready")?;
    Ok(running)
}

fn input(mode: &Mode) -> Result<()> {
    let mut running = signals(mode, "input")?;
    running.write("first\n")?;
    running.wait_for_text("line \"first\"")?;
    running.write("second, with spaces and ümlaut\nend\n")?;
    running.expect(Exit::Code(0), LIMIT)?;
    if !running.output().contains("line \"second, with spaces and ümlaut\"") {
        bail!("a line changed on its way:\n{}", running.output());
    }
    Ok(())
}

/// A program that ignores SIGINT can still be ended.
fn twice(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let mut running = Vm::of(&elf, mode).args(["stubborn"]).start()?;
    running.wait_for_text("ready")?;
    running.signal("INT")?;
    thread::sleep(Duration::from_millis(300));
    running.still_runs()?;
    running.signal("INT")?;
    match running.wait(Duration::from_secs(20))? {
        Exit::Code(0) => bail!("a machine ended by Ctrl-C looks like success"),
        _ => Ok(()),
    }
}
