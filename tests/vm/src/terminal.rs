//! A terminal on the host for a program and for `egg`.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Command;

use anyhow::{Context, Result};
use nix::pty::openpty;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::process::Process;
use crate::vm::Vm;

/// A pseudo terminal.
pub(crate) struct Terminal {
    keyboard: File,
    line: OwnedFd,
}

impl Terminal {
    pub(crate) fn of(rows: u16, columns: u16) -> Result<Self> {
        let pair = openpty(None, None).context("a pseudo terminal")?;
        let terminal = Self { keyboard: pair.master.into(), line: pair.slave };
        terminal.resize(rows, columns)?;
        Ok(terminal)
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.keyboard, size)?)
    }

    /// Types.
    pub(crate) fn write(&self, keys: &[u8]) -> Result<()> {
        Ok((&self.keyboard).write_all(keys)?)
    }

    /// Starts it on this terminal, in its foreground. What it shows is the output.
    pub(crate) fn start(&self, vm: Vm) -> Result<Process> {
        let inner = vm.command();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let line = || self.line.try_clone();
        command.stdin(line()?).stdout(line()?).stderr(line()?);
        let mut process = Process::start_with(command)?;
        process.collect_from(self.keyboard.try_clone()?);
        Ok(process)
    }
}
