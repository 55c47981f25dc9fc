//! Ends: every exit code arrives as it was given; what kills a Go program kills it here with the
//! same code and the same words.

use anyhow::{Result, bail};

use crate::build::{self, GoVersion, Variant};
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Vm};

/// (how, words on standard error). All end with exit code 2.
const FATAL: &[(&str, &[&str])] = &[
    ("panic", &["panic: told to panic", "goroutine 1 [running]", "main.die"]),
    ("nil", &["nil pointer dereference", "[signal SIGSEGV", "code=0x1 addr=0x0", "main.die"]),
    ("goroutine", &["panic: told to panic in a goroutine"]),
    ("deadlock", &["all goroutines are asleep - deadlock!"]),
    ("goexit", &["no goroutines (main called runtime.Goexit) - deadlock!"]),
    ("stack", &["stack overflow", "main.endless"]),
    ("throw", &["unlock of unlocked mutex"]),
];

/// (signal, its number): it kills the program by default.
const KILLED: &[(&str, i32)] = &[("KILL", 9), ("TERM", 15), ("INT", 2)];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for code in [0, 1, 2, 3, 42, 64, 100, 126, 127, 128, 137, 200, 254, 255] {
        let set = if [0, 1, 42, 255].contains(&code) { Set::Core } else { Set::All };
        tests.push(Test::new(format!("exit/{code}"), set, move |mode| {
            let elf = build::go("programs/exitcode", build::NEWEST, Variant::Plain)?;
            Vm::of(&elf, mode).args([code.to_string()]).run_to(Exit::Code(code), LIMIT)
        }));
    }
    for (how, words) in FATAL {
        for version in build::ALL {
            let set = if build::CORE.contains(&version) { Set::Core } else { Set::All };
            tests.push(Test::new(format!("fatal/{how}/{version}"), set, move |mode| {
                fatal(mode, how, words, version)
            }));
        }
    }
    for (signal, number) in KILLED.iter().chain(&[("limit", 9)]) {
        tests.push(Test::new(format!("killed/{signal}"), Set::Core, move |mode| {
            let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
            // Go's runtime takes the signal back and sends it again; egg says 128 + number.
            let want = match mode {
                Mode::Native => Exit::Signal(*number),
                Mode::Machine { .. } => Exit::Code(128 + number),
            };
            let arguments: &[&str] = if *signal == "limit" { &["run"] } else { &["kill", signal] };
            Vm::of(&elf, mode).args(arguments).run_to(want, LIMIT)
        }));
    }
    tests
}

fn fatal(mode: &Mode, how: &str, words: &[&str], version: GoVersion) -> Result<()> {
    let elf = build::go("programs/panics", version, Variant::Plain)?;
    let mut running = Vm::of(&elf, mode).args([how]).start()?;
    running.expect(Exit::Code(2), LIMIT)?;
    let output = running.output();
    for word in words {
        if !output.contains(word) {
            bail!("{word:?} is not in what it printed:\n{output}");
        }
    }
    Ok(())
}
