//! Programs that judge themselves, each built by every Go version.

use anyhow::{Result, bail};

use crate::build::{self, Variant};
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Vm};

struct Program {
    name: &'static str,
    args: &'static [&'static str],
    memory: Option<&'static str>,
}

const fn program(name: &'static str) -> Program {
    Program { name, args: &[], memory: None }
}

/// One row a program of `go/programs`.
const PROGRAMS: &[Program] = &[
    program("hello"),
    program("abi"),
    program("gc"),
    program("timers"),
    program("panics"),
    program("signals"),
    program("files"),
    program("httpserve"),
    program("dns"),
    program("udp"),
    Program { name: "big", args: &[], memory: Some("256M") },
    Program {
        name: "env",
        args: &[
            "-args",
            "one,two words,three",
            "-env",
            "EGG_TEST=a value",
            "one",
            "two words",
            "three",
        ],
        memory: None,
    },
    program("sleepacc"),
    program("calls"),
    program("filecalls"),
    program("ptys"),
    program("random"),
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for program in PROGRAMS {
        for version in build::ALL {
            let set = if build::CORE.contains(&version) { Set::Core } else { Set::All };
            tests.push(Test::new(format!("{}/{version}", program.name), set, move |mode| {
                let elf =
                    build::go(&format!("programs/{}", program.name), version, Variant::Plain)?;
                let mut vm = Vm::of(&elf, mode).args(program.args).env("EGG_TEST", "a value");
                if let Some(memory) = program.memory {
                    vm = vm.memory(memory);
                }
                vm.run(LIMIT)
            }));
        }
    }
    let without = Test::new("random/without-calls".into(), Set::Core, without_calls);
    tests.push(without.in_machine());
    tests
}

/// Thousands of reads of random bytes ask the kernel only for each thread's key (Go 1.24 and later).
fn without_calls(mode: &Mode) -> Result<()> {
    const CALLS_MAX: usize = 64;
    let elf = build::go("programs/random", build::NEWEST, Variant::Plain)?;
    let mut running = Vm::of(&elf, mode).flags(["--trace"]).start()?;
    running.expect(Exit::Code(0), LIMIT)?;
    let calls = running.output().matches("getrandom(").count();
    if !(1..=CALLS_MAX).contains(&calls) {
        bail!("{calls} calls of getrandom");
    }
    Ok(())
}
