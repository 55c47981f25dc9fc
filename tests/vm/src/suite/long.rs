//! Programs that take more than a moment: the profile of a known mix, system calls at random, a million
//! descriptors, everything at once for half an hour.

use std::time::Duration;

use crate::build::{self, Variant};
use crate::suite::{Set, Test};
use crate::vm::Vm;

const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for version in build::ALL {
        let set = if build::CORE.contains(&version) { Set::Core } else { Set::All };
        tests.push(Test::new(format!("pprof/{version}"), set, move |mode| {
            let elf = build::go("programs/pprof", version, Variant::Plain)?;
            Vm::of(&elf, mode).run(30 * MINUTE)
        }));
    }
    let fuzz = |version, cpus: &'static str, calls: &'static str, limit| {
        move |mode: &_| {
            let elf = build::go("programs/fuzz", version, Variant::Plain)?;
            // It says which seed it drew, so that a failure can be repeated.
            let args = ["-any", "-judge", "-calls", calls];
            Vm::of(&elf, mode).flags(["--cpus", cpus]).memory("256M").args(args).run(limit)
        }
    };
    // Not on the host's Linux: some of the calls are for a machine that is thrown away.
    for (version, cpus) in [(build::NEWEST, "1"), (build::NEWEST, "2"), ("1.16.15", "4")] {
        let run = fuzz(version, cpus, "200000", 30 * MINUTE);
        tests.push(Test::new(format!("fuzz/{cpus}/{version}"), Set::Core, run).in_machine());
    }
    let run = fuzz(build::NEWEST, "2", "20000000", 300 * MINUTE);
    tests.push(Test::new("fuzz/twenty-million".into(), Set::All, run).in_machine());
    for cpus in ["1", "2", "4"] {
        let run = move |mode: &_| {
            let elf = build::go("programs/stress", build::NEWEST, Variant::Plain)?;
            Vm::of(&elf, mode)
                .flags(["--cpus", cpus])
                .memory("256M")
                .args(["-for", "30m"])
                .run(120 * MINUTE)
        };
        tests.push(Test::new(format!("stress/{cpus}/half-an-hour"), Set::All, run).in_machine());
    }
    let run = |mode: &_| {
        let elf = build::go("programs/timers", build::NEWEST, Variant::Plain)?;
        let args = ["-many", "100000"];
        Vm::of(&elf, mode).flags(["--cpus", "2"]).memory("1G").args(args).run(30 * MINUTE)
    };
    tests.push(Test::new("timers/100000".into(), Set::All, run).in_machine());
    // Few hosts allow a program so many.
    let descriptors = Test::new("descriptors".into(), Set::Core, |mode| {
        let elf = build::go("programs/descriptors", build::NEWEST, Variant::Plain)?;
        Vm::of(&elf, mode).memory("256M").run(30 * MINUTE)
    });
    tests.push(descriptors.in_machine());
    tests
}
