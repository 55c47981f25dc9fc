//! The kernel's upper half in a simulated machine: a scripted server that listens, accepts and
//! answers, and a client across a wire that loses, repeats, delays and reorders frames. Virtual
//! time, a seeded order of tasks: one seed is one history.
//!
//! `EGGOS_SEED=n` replays one seed; `EGGOS_SEEDS=n` runs that many.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod button;
mod client;
mod owner;
mod processors;
mod program;
mod reboot;
mod wire;

use base::Instant;
use bundle::config::{self, Config};
use bundle::{Archive, Metadata, Writer};
use client::Client;
use hal::irq::Irq;
use hal::sim::{self, Script};
use processors::Processors;
use std::net::{IpAddr, Ipv4Addr};
use syscalls::process::ExitStatus;
use system::{Link, Next, Parts, System};
use wire::{Faults, Wire};

/// Seeds of an ordinary run.
const SEEDS: u64 = 1000;
/// A history longer than this, in virtual time, hangs.
const PATIENCE_NANOSECONDS: u64 = 3_600_000_000_000;
/// Frames of memory of the simulated machine.
const FRAMES: u64 = 8192;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const PORT: u16 = 8080;
/// What the machine's network device raises.
const DEVICE: Irq = Irq(5);

fn settings() -> Config {
    Config {
        program: "/program".into(),
        network: config::Network::Static,
        address: "10.1.0.2/24".parse().ok(),
        gateway: Some(IpAddr::V4(CLIENT)),
        ..Config::default()
    }
}

fn archive() -> Archive<'static> {
    let mut writer = Writer::new();
    writer.file(config::PATH.as_bytes(), Metadata::root(0o644), b"").expect("a valid entry");
    Archive::new(Box::leak(writer.finish().into_boxed_slice()))
}

/// One history. Panics when anything is not as it should be.
fn history(archive: Archive<'static>, seed: u64) {
    sim::reset(seed, FRAMES);
    sim::set_now(Instant::from_nanoseconds(1_000_000_000));
    let faults = if seed.is_multiple_of(4) { Faults::NONE } else { Faults::of(seed) };
    let (wire, machine_end, client_end) = Wire::new(seed, faults);
    let connections = 1 + seed % 4;
    let mut processors = Processors::new(1 + (seed / 4 % 4) as u32);
    let system = System::new(Parts {
        archive,
        config: settings(),
        links: vec![Link { device: Box::new(machine_end), irq: Some(DEVICE) }],
        seed: [seed as u8; 32],
        cpus: processors.count(),
        console_irq: None,
        display: None,
        inputs: Vec::new(),
        button_irq: None,
        shuffle: Some(Box::new(|count| sim::random() as usize % count.max(1))),
        script: Some(sim::program(move |script| program::serve(script, connections))),
    })
    .unwrap_or_else(|error| panic!("the system starts: {error}"));
    let mut client = Client::new(seed, Box::new(client_end), connections);
    let deadline = 1_000_000_000 + PATIENCE_NANOSECONDS;
    loop {
        let ended = processors.run(&system);
        let now = hal::clock::now();
        client.step(now);
        if let Some(status) = ended {
            assert_eq!(status, ExitStatus::Code(0), "the program found something wrong");
            assert_eq!(client.completed(), connections, "every connection was answered");
            return;
        }
        // Virtual time goes to whatever comes first.
        let next = [processors.next_timer(), client.next_deadline(), wire.next_arrival()];
        let next = next.into_iter().flatten().min().expect("something happens next");
        assert!(now.nanoseconds() < deadline, "hangs: {}", client.describe());
        sim::set_now(next.max(now + std::time::Duration::from_nanos(1)));
        processors.wake_due();
        if wire.has_arrived(0) {
            sim::raise(DEVICE);
            processors.wake(0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seed_is_answered() {
    let archive = archive();
    if let Some(seed) = number("EGGOS_SEED") {
        history(archive, seed);
        return;
    }
    let failed: Vec<u64> = (0..number("EGGOS_SEEDS").unwrap_or(SEEDS))
        .filter(|seed| {
            let run = std::panic::catch_unwind(|| history(archive, *seed));
            if run.is_err() {
                println!("seed {seed} failed: replay with EGGOS_SEED={seed}");
            }
            run.is_err()
        })
        .collect();
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
}

#[test]
fn a_seed_replays_to_the_same_history() {
    let archive = archive();
    let trace = |seed| {
        history(archive, seed);
        (hal::clock::now(), sim::random())
    };
    assert_eq!(trace(77), trace(77));
}

/// A machine of one processor, without a network and devices, that runs this program.
pub(crate) fn parts<F>(program: impl FnOnce(Script) -> F) -> Parts
where
    F: Future<Output = ()> + Send + 'static,
{
    Parts {
        archive: archive(),
        config: Config { network: config::Network::Off, ..settings() },
        links: Vec::new(),
        seed: [1; 32],
        cpus: 1,
        console_irq: None,
        display: None,
        inputs: Vec::new(),
        button_irq: None,
        shuffle: None,
        script: Some(sim::program(program)),
    }
}

pub(crate) fn start(parts: Parts) -> System {
    System::new(parts).unwrap_or_else(|error| panic!("the system starts: {error}"))
}

#[test]
fn files_that_are_named_go_back_in_the_end() {
    let returns = ["/etc/hostname", "/nothing", "/srv"].map(String::from).to_vec();
    let mut writer = Writer::new();
    writer.file(config::PATH.as_bytes(), Metadata::root(0o644), b"").expect("a valid entry");
    writer.file(b"srv/empty", Metadata::root(0o644), b"").expect("a valid entry");
    writer.file(b"srv/deep/large", Metadata::root(0o644), &[b'x'; 20_000]).expect("a valid entry");
    sim::reset(1, FRAMES);
    let program = |script: Script| async move {
        script.syscall(u64::from(abi::number::EXIT_GROUP), [0; 6]).await;
    };
    let parts = parts(program);
    let system = start(Parts {
        archive: Archive::new(Box::leak(writer.finish().into_boxed_slice())),
        config: Config { returns, ..parts.config.clone() },
        ..parts
    });
    let ended = (0..1000).any(|_| matches!(system.step(), Next::Ended(_)));
    assert!(ended, "the program ends");
    let _ = sim::take_console();
    system.return_files();
    let sent = String::from_utf8(sim::take_console()).expect("text");
    let large = "x".repeat(16_384);
    let rest = "x".repeat(20_000 - 16_384);
    let expected = [
        "\u{1}file 13 6\n/etc/hostnameeggos\n",
        &format!(
            "\u{1}file 15 16384\n/srv/deep/large{large}\u{1}file 15 3616\n/srv/deep/large{rest}"
        ),
        "\u{1}file 10 0\n/srv/empty",
    ];
    for part in expected {
        assert!(sent.contains(part), "{part:?} in {sent:?}");
    }
    assert_eq!(sent.len(), expected.iter().map(|part| part.len()).sum::<usize>());
}
