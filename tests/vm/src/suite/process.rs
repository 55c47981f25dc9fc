//! Some of the tests once more with the kernel as a process of this host. All of them run so with
//! `--machine process`.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::build::{self, CORE, NEWEST, Variant};
use crate::process::{self, Exit};
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Vm};

/// Tests of the oldest and the newest Go, and others.
const PROGRAMS: [&str; 6] = ["hello", "abi", "gc", "signals", "fatal/panic", "net/web"];
const OTHERS: [&str; 5] =
    ["exit/42", "killed/KILL", "console/interrupt", "static/contract", "memory/64M"];

pub(super) fn some_of<'a>(tests: impl IntoIterator<Item = &'a Test>) -> Vec<Test> {
    let versions = [CORE[0], NEWEST];
    let mut chosen: Vec<String> = OTHERS.map(str::to_owned).into();
    for program in PROGRAMS {
        chosen.extend(versions.map(|version| format!("{program}/{version}")));
    }
    let failing = Test::new("process/kernel-failure".into(), Set::Core, kernel_failure);
    let mut found: Vec<Test> =
        tests.into_iter().filter(|test| chosen.contains(&test.name)).map(on_host).collect();
    let are_all = found.len() == chosen.len();
    found.push(failing.with_own_machine());
    if !are_all {
        // A renamed test must not be lost quietly.
        found.push(Test::new("process/chosen".into(), Set::Core, |_| {
            bail!("a test that is to run as a process is not there any more")
        }));
    }
    found
}

/// A kernel that fails, here by a signal that it did not expect, is no end of the program.
fn kernel_failure(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/signals", NEWEST, Variant::Plain)?;
    let mut running = Vm::of(&elf, mode).machine("process").args(["wait"]).start()?;
    running.wait_for_text("ready")?;
    let children = format!("/proc/{0}/task/{0}/children", running.id());
    let kernel = fs::read_to_string(children)?.trim().to_owned();
    process::kill("ILL", kernel.parse().context("the kernel's process")?, false)?;
    running.expect(Exit::Code(124), LIMIT)?;
    let output = running.output();
    if !output.contains("kernel panic: signal 4 ") {
        bail!("no word of the kernel's failure: {output}");
    }
    Ok(())
}

fn on_host(test: &Test) -> Test {
    let run = Arc::clone(&test.run);
    let run = move |mode: &Mode| {
        let Mode::Machine { egg, flags } = mode else { return run(mode) };
        let mut flags = flags.clone();
        flags.extend(["--machine".to_owned(), "process".to_owned()]);
        run(&Mode::Machine { egg: egg.clone(), flags })
    };
    Test::new(format!("process/{}", test.name), Set::Core, run).with_own_machine()
}
