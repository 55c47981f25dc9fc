//! `--display gtk` and `sdl`: a window, on an X server that has no screen (Xvfb).

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::{self, Variant};
use crate::picture::Colour;
use crate::process::Process;
use crate::suite::{Set, Test};
use crate::vm::{BOOT_LIMIT, Mode, Vm};

pub(super) fn tests() -> Vec<Test> {
    let window = |display: &'static str| {
        let run = move |mode: &Mode| window(mode, display);
        Test::new(format!("screen/window/{display}"), Set::All, run).with_own_machine()
    };
    ["gtk", "sdl"].map(window).into()
}

/// What a program draws is seen in the window.
fn window(mode: &Mode, display: &str) -> Result<()> {
    if !["Xvfb", "xwd"].into_iter().all(build::installed) || !has_windows(display)? {
        println!("       (Xvfb, xwd or QEMU's windows are not installed: not tried)");
        return Ok(());
    }
    let (_server, name) = start_server()?;
    let elf = build::go("programs/screen", build::NEWEST, Variant::Plain)?;
    let mut command = Vm::of(&elf, mode).flags(["--display", display]).command();
    command.env("DISPLAY", &name);
    let mut machine = Process::start(command)?;
    machine.wait_for_text("not seen", BOOT_LIMIT)?;
    let until = Instant::now() + BOOT_LIMIT;
    loop {
        let picture = Picture::of(&name)?;
        if picture.has_drawing((1280, 800)) {
            return Ok(());
        }
        if let Some(exit) = machine.ended()? {
            bail!("it ended ({exit:?}): {}", machine.output());
        }
        if Instant::now() > until {
            bail!("what was drawn is not seen");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// QEMU's package for windows is installed.
fn has_windows(display: &str) -> Result<bool> {
    let help = Command::new("qemu-system-x86_64").args(["-display", "help"]).output()?;
    Ok(String::from_utf8_lossy(&help.stdout).lines().any(|line| line == display))
}

/// An X server, and the name of its display.
fn start_server() -> Result<(Process, String)> {
    // Two that start at once may choose the same number.
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    // Large enough for a window that is put in the middle while it is small.
    let mut command = Command::new("Xvfb");
    command.args(["-displayfd", "1", "-screen", "0", "2400x1600x24", "-nolisten", "tcp"]);
    let mut server = Process::start(command)?;
    let until = Instant::now() + BOOT_LIMIT;
    loop {
        // Between words about the numbers that others have.
        let output = server.output();
        let lines = output.rsplit_once('\n').map_or("", |whole| whole.0).lines();
        if let Some(number) = lines.filter_map(|line| line.parse::<u32>().ok()).next() {
            return Ok((server, format!(":{number}")));
        }
        if server.ended()?.is_some() || Instant::now() > until {
            bail!("Xvfb does not start: {output}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// What the X server shows.
struct Picture {
    width: usize,
    /// Pixels, row by row.
    pixels: Vec<Colour>,
}

impl Picture {
    /// Asks the server: a file as X11/XWDFile.h describes it.
    fn of(display: &str) -> Result<Self> {
        let output =
            Command::new("xwd").args(["-root", "-silent", "-display", display]).output()?;
        if !output.status.success() {
            bail!("xwd: {}", String::from_utf8_lossy(&output.stderr));
        }
        Self::decode(&output.stdout).context("xwd gave no picture")
    }

    fn decode(file: &[u8]) -> Option<Self> {
        /// Bytes of an entry of the colour map.
        const COLOUR: usize = 12;
        let field = |at: usize| {
            let bytes = file.get(4 * at..)?.first_chunk()?;
            usize::try_from(u32::from_be_bytes(*bytes)).ok()
        };
        let [head, width, bits, line, colours] =
            [field(0)?, field(4)?, field(11)?, field(12)?, field(19)?];
        let lines = file.get(head + COLOUR * colours..)?.chunks_exact(line.max(1));
        // Three bytes or four, blue first.
        let row = |line: &[u8]| -> Vec<Colour> {
            line.chunks_exact(bits / 8)
                .take(width)
                .map(|pixel| [pixel[2], pixel[1], pixel[0]])
                .collect()
        };
        (24..=32).contains(&bits).then(|| Self { width, pixels: lines.flat_map(row).collect() })
    }

    fn pixel(&self, x: usize, y: usize) -> Option<Colour> {
        self.pixels.get(y * self.width + x).copied()
    }

    /// Somewhere on it is what go/programs/screen draws on a screen of this size.
    fn has_drawing(&self, (width, height): (usize, usize)) -> bool {
        const RED: Colour = [255, 0, 0];
        const GREEN: Colour = [0, 255, 0];
        const BLUE: Colour = [0, 0, 255];
        let Some(start) = self.pixels.iter().position(|pixel| *pixel == GREEN) else {
            return false;
        };
        let (left, top) = (start % self.width, start / self.width);
        let places = [
            ((63, 63), GREEN),
            ((64, 63), RED),
            ((width - 1, height - 2), RED),
            ((0, height - 1), BLUE),
            ((width - 1, height - 1), BLUE),
        ];
        left + width <= self.width
            && places.iter().all(|((x, y), want)| self.pixel(left + x, top + y) == Some(*want))
    }
}
