//! Programs on machines with many CPUs.

use crate::build::{self, Variant};
use crate::suite::{LIMIT, Set, Test};
use crate::vm::Vm;

/// CPUs, program, its arguments, memory. More CPUs than the host has are slow, not wrong.
const ROWS: &[(u32, &str, &[&str], &str)] = &[
    (2, "cpus", &["-cpus", "2"], "128M"),
    (4, "cpus", &["-cpus", "4"], "128M"),
    (8, "cpus", &["-cpus", "8"], "128M"),
    (2, "stress", &[], "256M"),
    (4, "stress", &[], "256M"),
    (4, "abi", &[], "256M"),
    (2, "gc", &[], "256M"),
    (4, "signals", &[], "256M"),
    (2, "httpserve", &[], "256M"),
    (2, "big", &[], "256M"),
    (4, "calls", &[], "256M"),
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (cpus, program, args, memory) in ROWS {
        for version in build::ALL {
            let ends = ["1.16.15", build::NEWEST].contains(&version);
            let set = if ends { Set::Core } else { Set::All };
            let run = move |mode: &_| {
                let elf = build::go(&format!("programs/{program}"), version, Variant::Plain)?;
                Vm::of(&elf, mode)
                    .flags(["--cpus".to_owned(), cpus.to_string()])
                    .memory(memory)
                    .args(*args)
                    .run(LIMIT)
            };
            let name = format!("cpus/{cpus}/{program}/{version}");
            tests.push(Test::new(name, set, run).in_machine());
        }
    }
    let threads = |mode: &_| {
        let elf = build::go("programs/cpus", build::NEWEST, Variant::Plain)?;
        let args = ["-cpus", "2", "-threads", "10000"];
        Vm::of(&elf, mode).flags(["--cpus", "2"]).memory("512M").args(args).run(LIMIT)
    };
    tests.push(Test::new("cpus/2/threads/10000".into(), Set::All, threads).in_machine());
    tests
}
