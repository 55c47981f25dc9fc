//! Programs that judge themselves, each built by every Go version.

use crate::build::{self, Variant};
use crate::suite::{LIMIT, Set, Test};
use crate::vm::Vm;

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
    program("pprof"),
    program("calls"),
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
    tests
}
