//! The terminal that `egg` runs on.

use std::io::{self, IsTerminal};

use nix::sys::termios::{self, InputFlags, LocalFlags, SetArg, Termios};
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

/// The terminal with every key passed on at once and unchanged: the line editing, the echo and the
/// signals are the machine's. The output keeps its ways, so that `egg`'s own lines look right.
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Changes the terminal on standard input, until the value is dropped.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.local_flags &=
            !(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
        raw.input_flags &= !(InputFlags::IXON
            | InputFlags::ICRNL
            | InputFlags::INLCR
            | InputFlags::IGNCR
            | InputFlags::ISTRIP);
        termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}
