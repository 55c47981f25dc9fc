//! A terminal on the host for a program and for `egg`, and somebody before it.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::pty::openpty;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::picture::{Emulator, Picture};
use crate::process::{Exit, Process};
use crate::vm::{BOOT_LIMIT, Vm};

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

/// A program on a terminal, as somebody sees it who sits there.
pub(crate) struct Session {
    terminal: Terminal,
    process: Process,
    emulator: Emulator,
}

impl Session {
    pub(crate) fn start(vm: Vm, rows: u16, columns: u16) -> Result<Self> {
        let terminal = Terminal::of(rows, columns)?;
        let process = terminal.start(vm.env("TERM", "xterm-256color"))?;
        Ok(Self { terminal, process, emulator: Emulator::new(rows, columns) })
    }

    /// Waits until the text stands there.
    pub(crate) fn wait_for(&mut self, text: &str) -> Result<Picture> {
        let until = Instant::now() + BOOT_LIMIT;
        loop {
            let answers = self.emulator.take(&self.process.output_bytes());
            self.terminal.write(&answers)?;
            let picture = self.emulator.picture();
            let error = match picture.find(text) {
                Ok(_) => return Ok(picture),
                Err(error) => error,
            };
            if let Some(exit) = self.process.ended()? {
                return Err(error.context(format!("ended: {exit:?}")));
            }
            if Instant::now() > until {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types.
    pub(crate) fn write(&self, keys: &[u8]) -> Result<()> {
        self.terminal.write(keys)
    }

    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Exit> {
        self.process.wait(limit)
    }
}
