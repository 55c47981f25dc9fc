//! Network cards other than virtio's: the server answers through each of them, through the first of
//! two, and a machine without any runs its program too.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::build::{self, Variant};
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Vm};

/// The card that `egg` gives a PC.
const VIRTIO: &str = "-device virtio-net-pci,netdev=net,romfile=,disable-legacy=on";
const NETWORK: &str = "-netdev user,id=net";

/// Machine, QEMU's name of the card, set.
const CARDS: &[(&str, &str, Set)] = &[
    ("pc", "e1000", Set::Core),
    ("q35", "e1000e", Set::Core),
    ("q35", "e1000", Set::All),
    ("pc", "e1000-82545em", Set::All),
    ("pc", "e1000-82544gc", Set::All),
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (kind, card, set) in CARDS {
        let run = move |mode: &Mode| {
            serve(mode, kind, card, &format!("-device {card},netdev=net,romfile="))
        };
        let test = Test::new(format!("card/{card}/{kind}"), *set, run);
        tests.push(test.with_own_machine());
    }
    for (kind, first, second) in [
        ("pc", "e1000", "e1000"),
        ("q35", "e1000e", "virtio-net-pci"),
        ("q35", "virtio-net-pci", "e1000"),
    ] {
        let run = move |mode: &Mode| {
            let other = format!("-netdev user,id=other -device {second},netdev=other,romfile=");
            serve(
                mode,
                kind,
                &format!("{first}+{second}"),
                &format!("-device {first},netdev=net,romfile= {other}"),
            )
        };
        let name = format!("card/two/{first}+{second}/{kind}");
        tests.push(Test::new(name, Set::All, run).with_own_machine());
    }
    for kind in ["pc", "q35"] {
        let test = Test::new(format!("card/none/{kind}"), Set::All, move |mode| none(mode, kind));
        tests.push(test.with_own_machine());
    }
    tests
}

/// The server answers on a machine with these cards in the place of `egg`'s.
fn serve(mode: &Mode, kind: &str, name: &str, cards: &str) -> Result<()> {
    let elf = build::go("programs/httpserve", build::NEWEST, Variant::Plain)?;
    let mut vm = Vm::of(&elf, mode).machine(kind);
    let (plain, secure) = (vm.listen(80)?, vm.listen(443)?);
    let vm = vm.args(["-serve", "-http", &plain, "-https", &secure]);
    let mut machine = vm.start_qemu(&folder(kind, name), |line| line.replace(VIRTIO, cards))?;
    machine.get_until_ready(80, "/")?;
    // More than the rings hold, both ways.
    let sent: Vec<u8> = (0..2_000_000_u32).map(|at| b'a' + (at % 251 % 26) as u8).collect();
    if machine.ask(80, "POST", "/echo", &sent)?.as_bytes() != sent {
        bail!("not what was sent came back");
    }
    machine.get(80, "/exit?code=3")?;
    machine.expect_orderly("exit 3", LIMIT)
}

/// A program that needs no network runs where there is none.
fn none(mode: &Mode, kind: &str) -> Result<()> {
    let elf = build::go("programs/hello", build::NEWEST, Variant::Plain)?;
    let vm = Vm::of(&elf, mode).machine(kind);
    let without = |line: &str| line.replace(VIRTIO, "").replace(NETWORK, "");
    vm.start_qemu(&folder(kind, "none"), without)?.expect_orderly("exit 0", LIMIT)
}

/// Where the files of a machine lie: a socket among them, whose path must be short.
fn folder(kind: &str, name: &str) -> PathBuf {
    build::target().join("cards").join(format!("{kind}-{name}"))
}
