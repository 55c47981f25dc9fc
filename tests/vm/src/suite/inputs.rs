//! Mice, and keyboards that are no PC's: what programs read of them, as QEMU's monitor moves them.

use anyhow::{Result, bail};

use crate::build::{self, Variant};
use crate::monitor::Monitor;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Running, Vm};

const PCI: &str = "-device virtio-keyboard-pci -device virtio-mouse-pci -device virtio-tablet-pci";
const MMIO: &str =
    "-device virtio-keyboard-device -device virtio-mouse-device -device virtio-tablet-device";
const SCREEN: &str = "-vga std";

/// Names of devices as programs see them.
const PS2: &[&str] = &[
    "event0: \"AT Translated Set 2 keyboard\" bus 0x11 types 0x20003",
    "event1: \"ImPS/2 Generic Wheel Mouse\" bus 0x11 types 0x7",
];
const VIRTIO: &[&str] = &[
    "\"QEMU Virtio Keyboard\" bus 0x6 types 0x",
    "\"QEMU Virtio Mouse\" bus 0x6 types 0x7",
    "\"QEMU Virtio Tablet\" bus 0x6 types 0xf",
];

/// Name, machine, set, what it has more, and which devices those are.
type Row = (&'static str, &'static str, Set, &'static str, &'static [&'static str]);

const ROWS: &[Row] = &[
    ("ps2", "q35", Set::Core, SCREEN, PS2),
    ("ps2", "pc", Set::All, SCREEN, PS2),
    ("virtio", "microvm", Set::Core, MMIO, VIRTIO),
    ("virtio", "q35", Set::All, PCI, VIRTIO),
];

pub(super) fn tests() -> Vec<Test> {
    let test = |&(name, kind, set, devices, names): &Row| {
        let run = move |mode: &Mode| events(mode, name, kind, devices, names);
        Test::new(format!("input/{name}/{kind}"), set, run).with_own_machine()
    };
    let mut tests: Vec<_> = ROWS.iter().map(test).collect();
    tests.push(Test::new("input/typed/q35".into(), Set::Core, typed).with_own_machine());
    tests
}

fn start(vm: Vm, name: &str, change: impl Fn(&str) -> String) -> Result<(Running, Monitor)> {
    let folder = build::target().join("input").join(name);
    let mut machine = vm.start_qemu(&folder, change)?;
    machine.wait_for_text("listening")?;
    Ok((machine, Monitor::of(&folder)?))
}

fn events(mode: &Mode, name: &str, kind: &str, devices: &str, names: &[&str]) -> Result<()> {
    let elf = build::go("programs/evdev", build::NEWEST, Variant::Plain)?;
    let vm = Vm::of(&elf, mode).machine(kind).args(["all"]);
    let (mut machine, mut monitor) = start(vm, &format!("{name}-{kind}"), |line| {
        line.replace("-no-reboot", &format!("-no-reboot {devices}"))
    })?;
    let axis = |kind: &str, axis: &str, value: i32| {
        format!("{{\"type\": \"{kind}\", \"data\": {{\"axis\": \"{axis}\", \"value\": {value}}}}}")
    };
    let button = |name: &str, down: bool| {
        format!("{{\"type\": \"btn\", \"data\": {{\"button\": \"{name}\", \"down\": {down}}}}}")
    };
    let mut send = |events: &[String]| {
        monitor.execute("input-send-event", &format!("\"events\": [{}]", events.join(", ")))
    };
    send(&[axis("rel", "x", 5), axis("rel", "y", -3)])?;
    let has_tablet = names.len() > 2;
    if has_tablet {
        send(&[axis("abs", "x", 0x1234), axis("abs", "y", 7)])?;
    }
    for down in [true, false] {
        send(&[button("left", down)])?;
    }
    for down in [true, false] {
        send(&[button("wheel-up", down)])?;
    }
    let mut want = vec!["type 2 code 0 value 5", "type 2 code 1 value -3"];
    want.extend(["type 1 code 272 value 1", "type 1 code 272 value 0", "type 2 code 8 value 1"]);
    if has_tablet {
        want.extend(["type 3 code 0 value 4660", "type 3 code 1 value 7"]);
    }
    // The program ends with the key, whatever other devices have to say.
    want.iter().try_for_each(|part| machine.wait_for_text(part))?;
    for down in [true, false] {
        let key = "\"key\": {\"type\": \"qcode\", \"data\": \"q\"}";
        let sent = send(&[format!("{{\"type\": \"key\", \"data\": {{\"down\": {down}, {key}}}}}")]);
        // When it goes up the machine may be gone before its monitor answers.
        if down {
            sent?;
        }
    }
    machine.expect_orderly("exit 0", LIMIT)?;
    want.extend(["type 1 code 16 value 1", "type 1 code 16 value 0"]);
    let seen = machine.output();
    let missing = want.iter().chain(names).find(|part| !seen.contains(**part));
    missing.map_or(Ok(()), |part| bail!("no {part:?} in\n{seen}"))
}

/// What is typed on a keyboard that is not the PC's is read from the terminal on the screen, too.
fn typed(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let vm = Vm::of(&elf, mode).machine("q35").args(["input"]);
    let folder = build::target().join("input/typed");
    let mut machine = vm.start_qemu(&folder, |line| {
        let devices = format!("-no-reboot {SCREEN} -device virtio-keyboard-pci");
        line.replace("-no-reboot", &devices).replace("-M q35,", "-M q35,i8042=off,")
    })?;
    machine.wait_for_text("ready")?;
    let mut monitor = Monitor::of(&folder)?;
    for key in ["e", "n", "d", "ret"] {
        let keys = format!("\"keys\": [{{\"type\": \"qcode\", \"data\": \"{key}\"}}]");
        monitor.execute("send-key", &keys)?;
    }
    machine.wait_for_text("line \"end\"")?;
    machine.expect_orderly("exit 0", LIMIT)
}
