//! A screen that changes its size while the machine runs, as the window of a viewer does.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Adapter, GPU, GPU_MMIO, Screen};
use crate::build::{self, Variant};
use crate::picture::{Colour, Picture};
use crate::suite::{LIMIT, Set, Test};
use crate::viewer::{self, Viewer};
use crate::vm::{BOOT_LIMIT, Mode, Vm};

pub(super) fn tests() -> Vec<Test> {
    let own = |name: &str, set, run: fn(&Mode) -> Result<()>| {
        Test::new(format!("screen/{name}"), set, run).with_own_machine()
    };
    vec![
        own("resize", Set::Core, |mode| resize(mode, "resize", GPU)),
        own("resize-microvm", Set::All, |mode| resize(mode, "resize-microvm", GPU_MMIO)),
        own("resize-bubbletea", Set::Core, bubbletea),
        own("resize-flood", Set::All, flood),
    ]
}

/// A machine whose screen somebody looks at.
fn start(adapter: Adapter, name: &str, vm: Vm) -> Result<(Screen, Viewer)> {
    let socket = build::target().join("screen").join(name).join(viewer::SOCKET);
    let screen = Screen::start_on(adapter, name, vm, "", |line| {
        format!("{line} -vnc unix:{}", socket.display())
    })?;
    let viewer = Viewer::of(&screen.folder)?;
    Ok((screen, viewer))
}

/// Waits until the picture has a size, and a text.
fn wait_for(screen: &mut Screen, (width, height): (usize, usize), text: &str) -> Result<Picture> {
    let until = Instant::now() + BOOT_LIMIT;
    loop {
        let picture = screen.wait_for(text)?;
        if picture.size() == (width, height) {
            return Ok(picture);
        }
        if Instant::now() > until {
            bail!("the picture has {:?} pixels:\n{}", picture.size(), picture.all());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Text stays, and what has left comes back; a program is told; whoever draws has the new size, and keeps
/// its memory.
fn resize(mode: &Mode, name: &str, adapter: Adapter) -> Result<()> {
    let elf = build::go("programs/screen", build::NEWEST, Variant::Plain)?;
    let (mut screen, mut viewer) = start(adapter, name, Vm::of(&elf, mode).args(["resize"]))?;
    wait_for(&mut screen, (1280, 800), "ready: 160 columns, 50 rows")?;
    // The last width is no whole number of characters.
    for (width, height) in [(640, 400), (1600, 1200), (1030, 610)] {
        viewer.resize(width, height)?;
        let (columns, rows) = (usize::from(width) / 8, usize::from(height) / 16);
        let told = format!("now: {columns} columns, {rows} rows");
        let picture = wait_for(&mut screen, (8 * columns, height.into()), &told)?;
        let row = picture.find(&told)?;
        let last = picture.find("line 100")?;
        // All rows above are those that came before, without a gap.
        for above in 0..last {
            let want = format!("line {}", 100 - (last - above));
            if picture.text(above) != want {
                bail!("no {want:?} in row {above}:\n{}", picture.all());
            }
        }
        if row < rows - 2 || last < rows - 10 {
            bail!("not at the bottom:\n{}", picture.all());
        }
    }
    screen.press(&["shift-pgup"])?;
    screen.wait_for("line 50")?;
    screen.press(&["shift-pgdn"])?;
    // More than there is memory for.
    viewer.resize(8000, 8000)?;
    let refused = "it stays 1024x610: 8000x8000 is too large or too small";
    screen.running.wait_for_text(refused)?;
    wait_for(&mut screen, (1024, 610), refused)?;
    draws(&mut screen, &mut viewer)?;
    // The machine may be gone before its monitor answers.
    let _ = screen.press(&["ret"]);
    screen.running.expect_orderly("exit 0", LIMIT)
}

/// The program has the screen for itself, and paints it anew each time.
fn draws(screen: &mut Screen, viewer: &mut Viewer) -> Result<()> {
    screen.press(&["ret"])?;
    wait_for_drawing(screen, (1024, 610))?;
    for (width, height) in [(800, 600), (1280, 1024), (320, 200), (640, 480)] {
        viewer.resize(width, height)?;
        wait_for_drawing(screen, (width.into(), height.into()))?;
    }
    screen.press(&["ret"])?;
    let picture = wait_for(screen, (640, 480), "text again: 80 columns, 30 rows")?;
    picture.find("line 100")?;
    if picture.pixel(639, 479) != Some([0; 3]) {
        bail!("the picture is still there");
    }
    Ok(())
}

fn wait_for_drawing(screen: &mut Screen, (width, height): (usize, usize)) -> Result<()> {
    const GREEN: Option<Colour> = Some([0, 255, 0]);
    const RED: Option<Colour> = Some([255, 0, 0]);
    let until = Instant::now() + BOOT_LIMIT;
    loop {
        let picture = screen.picture()?;
        let green = [(0, 0), (width - 2, height - 1), (width - 1, height - 2), (0, height - 1)];
        let seen = green.map(|(x, y)| picture.pixel(x, y));
        let last = picture.pixel(width - 1, height - 1);
        if picture.size() == (width, height) && seen == [GREEN; 4] && last == RED {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{width}x{height}: {:?} pixels, {seen:?} {last:?}", picture.size());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A program of a popular library draws itself anew, on its own screen.
fn bubbletea(mode: &Mode) -> Result<()> {
    let elf = build::go("modules/bubbletea", build::NEWEST, Variant::Plain)?;
    let (mut screen, mut viewer) = start(GPU, "resize-bubbletea", Vm::of(&elf, mode))?;
    wait_for(&mut screen, (1280, 800), "> coffee")?;
    // Corners look the same, round or not.
    let view = ["┌ What shall it be? ┐", "│ > coffee          │", "│   tea             │"];
    for (width, height) in [(640, 480), (1920, 1080), (400, 240)] {
        viewer.resize(width, height)?;
        let note = format!("now {}x{}", width / 8, height / 16);
        let picture = wait_for(&mut screen, (width.into(), height.into()), &note)?;
        if [0, 1, 2].map(|row| picture.text(row)) != view || picture.text(5) != note {
            bail!("not as before:\n{}", picture.all());
        }
    }
    screen.press(&["down"])?;
    wait_for(&mut screen, (400, 240), "> tea")?;
    screen.press(&["ret"])?;
    screen.running.expect_orderly("exit 0", LIMIT)
}

/// As when somebody drags a window's corner: sizes come faster than pictures can be made, while two processors
/// write and draw. Nothing is lost.
fn flood(mode: &Mode) -> Result<()> {
    const MOST: (u16, u16) = (1600, 1200);
    let elf = build::go("programs/screen", build::NEWEST, Variant::Plain)?;
    let vm = Vm::of(&elf, mode).flags(["--cpus", "2"]).args(["flood"]);
    let (mut screen, mut viewer) = start(GPU, "resize-flood", vm)?;
    screen.running.wait_for_text("0: ")?;
    let mut drag = |steps: std::ops::Range<u32>| -> Result<()> {
        for step in steps {
            // Anything, and the same each time.
            let some = step.wrapping_mul(2_654_435_761) >> 8;
            let (width, height) = (330 + some % 1000, 210 + (some >> 10) % 800);
            viewer.resize(width as u16, height as u16)?;
            thread::sleep(Duration::from_millis(u64::from(step % 5 * 10)));
        }
        viewer.resize(MOST.0, MOST.1)
    };
    drag(0..50)?;
    thread::sleep(Duration::from_secs(1));
    screen.press(&["ret"])?;
    screen.running.wait_for_text("half")?;
    drag(50..400)?;
    thread::sleep(Duration::from_secs(1));
    screen.press(&["ret"])?;
    wait_for(&mut screen, (MOST.0.into(), MOST.1.into()), "kB were there, then")?;
    // The machine may be gone before its monitor answers.
    let _ = screen.press(&["ret"]);
    screen.running.expect_orderly("exit 0", LIMIT)
}
