//! QEMU's monitor (docs/interop/qmp-spec.rst there): the power button, keys, pictures of the screen.

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// A connection to the monitor of a machine.
#[derive(Debug)]
pub(crate) struct Monitor {
    stream: UnixStream,
    answers: Lines<BufReader<UnixStream>>,
    /// What came before a command's answer, and is not waited for yet: what a command brings
    /// about on another processor may be told first.
    events: Vec<String>,
}

impl Monitor {
    /// Connects to the monitor of a machine that `Vm::start_qemu` started with this folder.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let stream = UnixStream::connect(folder.join(SOCKET)).context("the monitor")?;
        let answers = BufReader::new(stream.try_clone()?).lines();
        let mut monitor = Self { stream, answers, events: Vec::new() };
        monitor.execute("qmp_capabilities", "")?;
        Ok(monitor)
    }

    /// Gives a command, with its arguments as the members of a JSON object.
    pub(crate) fn execute(&mut self, command: &str, arguments: &str) -> Result<()> {
        let line = format!("{{\"execute\": \"{command}\", \"arguments\": {{{arguments}}}}}\n");
        self.stream.write_all(line.as_bytes())?;
        loop {
            let answer = self.answers.next().context("no answer")??;
            if answer.contains("\"error\"") {
                bail!("{command}: {answer}");
            }
            if answer.contains("\"return\"") {
                return Ok(());
            }
            if answer.contains("\"event\"") {
                self.events.push(answer);
            }
        }
    }

    /// Waits for an event (`docs/interop/qemu-qmp-ref`), until the machine ends.
    pub(crate) fn wait_for_event(&mut self, name: &str) -> Result<()> {
        let wanted = format!("\"event\": \"{name}\"");
        if let Some(at) = self.events.iter().position(|line| line.contains(&wanted)) {
            self.events.drain(..=at);
            return Ok(());
        }
        for line in &mut self.answers {
            if line?.contains(&wanted) {
                return Ok(());
            }
        }
        bail!("no {name}")
    }
}

/// The monitor's socket in a machine's folder.
pub(crate) const SOCKET: &str = "monitor";
