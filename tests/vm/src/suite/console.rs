//! Console: input reaches the program, Ctrl-C is SIGINT, twice ends the machine.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::build::{self, Variant};
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::terminal::{Session, Terminal};
use crate::vm::{BOOT_LIMIT, Mode, Running, Vm};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("console/input".into(), Set::Core, input),
        Test::new("console/interrupt".into(), Set::Core, |mode| {
            let mut running = signals(mode, "wait")?;
            running.signal("INT")?;
            running.expect(Exit::Code(0), LIMIT)
        }),
        Test::new("console/interrupt-default".into(), Set::Core, |mode| {
            let mut running = signals(mode, "default")?;
            running.signal("INT")?;
            // Go's default for SIGINT is to die of it.
            let want = if matches!(mode, Mode::Native) { Exit::Signal(2) } else { Exit::Code(130) };
            running.expect(want, LIMIT)
        }),
        Test::new("console/interrupt-twice".into(), Set::Core, twice).in_machine(),
        Test::new("console/terminate".into(), Set::Core, |mode| {
            let mut running = signals(mode, "wait")?;
            running.signal("TERM")?;
            running.expect(Exit::Code(3), LIMIT)
        }),
        Test::new("console/terminate-default".into(), Set::Core, |mode| {
            let mut running = signals(mode, "default")?;
            running.signal("TERM")?;
            let want =
                if matches!(mode, Mode::Native) { Exit::Signal(15) } else { Exit::Code(143) };
            running.expect(want, LIMIT)
        }),
        Test::new("console/quit".into(), Set::Core, |mode| {
            let mut running = signals(mode, "default")?;
            running.signal("QUIT")?;
            let status = running.wait(LIMIT)?;
            check_dump(status, &running.output())
        }),
        Test::new("console/window".into(), Set::Core, window),
        Test::new("console/raw".into(), Set::Core, raw),
        Test::new("console/bubbletea".into(), Set::Core, bubbletea),
        Test::new("console/editor".into(), Set::Core, editor),
    ]
}

fn signals(mode: &Mode, how: &str) -> Result<Running> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let mut running = Vm::of(&elf, mode).args([how]).start()?;
    running.wait_for_text("ready")?;
    Ok(running)
}

/// A program of a popular library for terminals, unmodified. Keys come as several bytes, and the
/// program must read them together: it could not tell the first from the key Escape else.
fn bubbletea(mode: &Mode) -> Result<()> {
    let elf = build::go("modules/bubbletea", build::NEWEST, Variant::Plain)?;
    let mut session = Session::start(Vm::of(&elf, mode), 24, 80)?;
    session.wait_for("> coffee")?;
    for choice in ["> tea", "> water", "> coffee", "> tea"] {
        // When nothing else happens.
        thread::sleep(Duration::from_millis(300));
        session.write(b"\x1b[B")?;
        session.wait_for(choice)?;
    }
    session.wait_for("> tea")?.save(&build::target().join("screen/bubbletea-serial.png"))?;
    session.write(b"\r")?;
    match session.wait(LIMIT)? {
        Exit::Code(0) => Ok(()),
        exit => bail!("{exit:?}"),
    }
}

/// A line editor of golang.org/x/term: typed text, arrows, history.
fn editor(mode: &Mode) -> Result<()> {
    let elf = build::go("modules/term", build::NEWEST, Variant::Plain)?;
    let mut session = Session::start(Vm::of(&elf, mode).args(["card"]), 24, 80)?;
    session.wait_for("> ")?;
    session.write(b"hello\x1b[D\x1b[DX\r")?;
    session.wait_for("read \"helXlo\"")?;
    session.write(b"\x1b[A!\r")?;
    session
        .wait_for("read \"helXlo!\"")?
        .save(&build::target().join("screen/editor-serial.png"))?;
    session.write(b"\x03")?;
    match session.wait(LIMIT)? {
        Exit::Code(0) => Ok(()),
        exit => bail!("{exit:?}"),
    }
}

/// Go's runtime says what its goroutines do, and exits with 2.
fn check_dump(status: Exit, output: &str) -> Result<()> {
    let words = ["SIGQUIT: quit", "goroutine 1 ", "main.special"];
    if status != Exit::Code(2) || !words.iter().all(|word| output.contains(word)) {
        bail!("{status:?}, not with {words:?}:\n{output}");
    }
    Ok(())
}

/// The program has a terminal as large as the host's, and Ctrl-\\ on it is SIGQUIT.
fn window(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let terminal = Terminal::of(40, 100)?;
    let mut running = terminal.start(Vm::of(&elf, mode).args(["window"]))?;
    running.wait_for_text("ready", BOOT_LIMIT)?;
    terminal.resize(41, 101)?;
    let status = running.wait(LIMIT)?;
    let told = running.output();
    let want = "size [40 100]\r\nready\r\nsize [41 101]\r\nset [42 101]\r\nnot told [42 101]\r\nset [43 101]\r\n";
    if status != Exit::Code(0) || !told.contains(want) {
        bail!("{status:?}:\n{told}");
    }
    let terminal = Terminal::of(40, 100)?;
    let mut running = terminal.start(Vm::of(&elf, mode).args(["default"]))?;
    running.wait_for_text("ready", BOOT_LIMIT)?;
    terminal.write(b"\x1c")?;
    let status = running.wait(LIMIT)?;
    check_dump(status, &running.output())
}

/// Raw reads that end by time, with nothing and with less than they want.
fn raw(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let terminal = Terminal::of(40, 100)?;
    let mut running = terminal.start(Vm::of(&elf, mode).args(["raw"]))?;
    running.wait_for_text("ready", BOOT_LIMIT)?;
    terminal.write(b"xy")?;
    let status = running.wait(LIMIT)?;
    if status != Exit::Code(0) {
        bail!("{status:?}:\n{}", running.output());
    }
    Ok(())
}

fn input(mode: &Mode) -> Result<()> {
    let mut running = signals(mode, "input")?;
    running.write("first\n")?;
    running.wait_for_text("line \"first\"")?;
    running.write("second, with spaces and ümlaut\nend\n")?;
    running.expect(Exit::Code(0), LIMIT)?;
    if !running.output().contains("line \"second, with spaces and ümlaut\"") {
        bail!("a line changed on its way:\n{}", running.output());
    }
    Ok(())
}

/// A program that ignores SIGINT can still be ended.
fn twice(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/signals", build::NEWEST, Variant::Plain)?;
    let mut running = Vm::of(&elf, mode).args(["stubborn"]).start()?;
    running.wait_for_text("ready")?;
    running.signal("INT")?;
    thread::sleep(Duration::from_millis(300));
    running.still_runs()?;
    running.signal("INT")?;
    match running.wait(Duration::from_secs(20))? {
        Exit::Code(0) => bail!("a machine ended by Ctrl-C looks like success"),
        _ => Ok(()),
    }
}
