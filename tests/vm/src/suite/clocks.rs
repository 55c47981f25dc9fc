//! How exactly the machine's clock runs, measured by each of the counters that it is set by, beside the
//! host's clock.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::build::{self, Variant};
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{BOOT_LIMIT, Mode, Running, Vm};

/// On bare metal nobody says how fast the counters run: so it is for a guest that sees no hypervisor.
const BARE: Change = ("-cpu max,", "-cpu max,-hypervisor,");

/// What is changed in QEMU's words: a part of them, and what stands there then.
type Change = (&'static str, &'static str);
/// Name, machine, set, changes, and what the kernel says that it measured by.
type Row = (&'static str, &'static str, Set, &'static [Change], &'static str);

const ROWS: &[Row] = &[
    ("apic", "microvm", Set::All, &[], "the APIC timer"),
    ("hpet", "q35", Set::Core, &[BARE], "the HPET"),
    ("acpi", "q35", Set::All, &[BARE, ("-M q35,", "-M q35,hpet=off,")], "ACPI's timer"),
    ("acpi", "pc", Set::All, &[BARE, ("-M pc,", "-M pc,hpet=off,")], "ACPI's timer"),
    ("8254", "pc", Set::Core, &[BARE, ("-M pc,", "-M pc,acpi=off,")], "the 8254"),
];

pub(super) fn tests() -> Vec<Test> {
    let test = |&(name, kind, set, changes, by): &Row| {
        let run = move |mode: &Mode| keeps_time(mode, name, kind, changes, by);
        Test::new(format!("clock/{name}/{kind}"), set, run).with_own_machine()
    };
    ROWS.iter().map(test).collect()
}

/// One look at the machine's clock.
struct Look {
    /// The host's, in the middle of the exchange.
    host: Instant,
    /// What the exchange took: the look may have been half of that earlier or later.
    took: Duration,
    /// Nanoseconds.
    machine: u64,
}

/// The fastest of some exchanges.
fn look(machine: &mut Running, said: &mut usize) -> Result<Look> {
    const EXCHANGES: usize = 40;
    let mut best: Option<Look> = None;
    for _ in 0..EXCHANGES {
        let before = Instant::now();
        machine.write("?\n")?;
        let answer = answer(machine, *said)?;
        *said += 1;
        let took = before.elapsed();
        if best.as_ref().is_none_or(|best| took < best.took) {
            best = Some(Look { host: before + took / 2, took, machine: answer });
        }
    }
    best.context("no exchange")
}

/// The machine's answer after so many.
fn answer(machine: &mut Running, said: usize) -> Result<u64> {
    let until = Instant::now() + BOOT_LIMIT;
    while Instant::now() < until {
        // The kernel's words for the host come on a device of their own: within a line, perhaps.
        let output = machine.output().replace("net 10.0.2.15\n", "").replace("ready\n", "");
        let mut answers = output.lines().filter_map(|line| line.trim().strip_prefix("at "));
        // The last line may be on its way.
        if let Some(answer) = answers.nth(said).filter(|_| output.ends_with('\n')) {
            return Ok(answer.parse()?);
        }
        machine.still_runs()?;
        thread::sleep(Duration::from_micros(100));
    }
    bail!("no answer:\n{}", machine.output())
}

fn keeps_time(mode: &Mode, name: &str, kind: &str, changes: &[Change], by: &str) -> Result<()> {
    const TIME: Duration = Duration::from_secs(8);
    /// In millionths.
    const MOST: u128 = 1000;
    let elf = build::go("programs/clock", build::NEWEST, Variant::Plain)?;
    let folder = build::target().join(format!("clock/{kind}-{name}"));
    let vm = Vm::of(&elf, mode).machine(kind).flags(["--verbose"]);
    let mut machine = vm.start_qemu(&folder, |line| {
        changes.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to))
    })?;
    machine.wait_for_text("ready")?;
    ensure!(machine.output().contains(&format!("measured by {by}")), "{}", machine.output());
    let mut said = 0;
    let first = look(&mut machine, &mut said)?;
    thread::sleep(TIME);
    let last = look(&mut machine, &mut said)?;
    machine.write("end\n")?;
    machine.expect_orderly("exit 0", LIMIT)?;

    let host = (last.host - first.host).as_nanos();
    let off = host.abs_diff(u128::from(last.machine - first.machine));
    // On a busy host an exchange takes its time.
    let unsure = ((first.took + last.took) / 2).as_nanos();
    let (off, unsure) = (off * 1_000_000 / host, unsure * 1_000_000 / host);
    println!("clock by {by} on {kind}: off by {off} millionths, known to {unsure}");
    ensure!(off <= MOST + unsure, "off by {off} millionths, known to {unsure}");
    Ok(())
}
