//! The terminal that `egg` runs on.

use std::io::{self, IsTerminal, Write};

use std::sync::atomic::{AtomicBool, Ordering};

use bundle::config::Window;
use nix::sys::termios::{self, SetArg, Termios};
use nix::unistd;

/// True when standard input and output are a terminal and `egg` is in its foreground: reading from
/// the background would stop the whole job.
pub(crate) fn is_ours() -> bool {
    io::stdout().is_terminal() && stdin_is_ours_to_read() && io::stdin().is_terminal()
}

/// False when standard input is a terminal that another job uses.
pub(crate) fn stdin_is_ours_to_read() -> bool {
    !io::stdin().is_terminal()
        || unistd::tcgetpgrp(io::stdin()).is_ok_and(|group| group == unistd::getpgrp())
}

/// How large its window is.
pub(crate) fn window() -> Option<Window> {
    let size = rustix::termios::tcgetwinsize(io::stdin()).ok()?;
    Some(Window {
        rows: size.ws_row,
        columns: size.ws_col,
        width: size.ws_xpixel,
        height: size.ws_ypixel,
    })
}

/// Lines of `egg` must return the carriage themselves: see [`Raw`].
static IS_RAW: AtomicBool = AtomicBool::new(false);

/// Prints a line of `egg`'s own on standard error.
pub(crate) fn say(line: &str) {
    show(format!("egg: {line}\n").as_bytes());
}

/// Passes text on to standard error.
pub(crate) fn show(text: &[u8]) {
    let mut stderr = io::stderr().lock();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let written = match line.strip_suffix(b"\n") {
            Some(line) if IS_RAW.load(Ordering::Relaxed) => {
                stderr.write_all(line).and_then(|()| stderr.write_all(b"\r\n"))
            }
            _ => stderr.write_all(line),
        };
        if written.is_err() {
            // Nobody is there to be told.
            return;
        }
    }
}

/// The terminal with every key passed on at once and unchanged, and all output as it comes: line
/// editing, echo, signals and carriage returns are the machine's.
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Changes the terminal on standard input, until the value is dropped.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        IS_RAW.store(true, Ordering::Relaxed);
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
        IS_RAW.store(false, Ordering::Relaxed);
    }
}
