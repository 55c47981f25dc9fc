//! A child process whose output is kept, that can be waited for with a limit, and that does not
//! outlive its owner.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it. `egg` gives 128 + the signal as a code instead, as shells do.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Code(code),
            None => Self::Signal(status.signal().unwrap_or(0)),
        }
    }
}

/// A running child. Its standard output and error are collected, in the order they came.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<thread::JoinHandle<()>>,
    ended: Option<Exit>,
}

impl Process {
    /// Starts the command in a process group of its own, so that everything it started ends with it.
    pub fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start_with(command)
    }

    /// The same with the standard streams that the command has; those that are pipes are ours.
    pub(crate) fn start_with(mut command: Command) -> Result<Self> {
        command.process_group(0);
        let mut child =
            command.spawn().with_context(|| format!("start {:?}", command.get_program()))?;
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(collect(stdout, &output));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(collect(stderr, &output));
        }
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, output, readers, ended: None })
    }

    /// What comes from there counts as printed.
    pub(crate) fn collect_from(&mut self, from: impl Read + Send + 'static) {
        self.readers.push(collect(from, &self.output));
    }

    /// Everything printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&locked(&self.output)).into_owned()
    }

    /// The same as the bytes that came.
    pub(crate) fn output_bytes(&self) -> Vec<u8> {
        locked(&self.output).clone()
    }

    /// How it ended, or nothing while it runs.
    pub fn ended(&mut self) -> Result<Option<Exit>> {
        if self.ended.is_none()
            && let Some(status) = self.child.try_wait()?
        {
            for reader in self.readers.drain(..) {
                // A grandchild may still hold the pipe: what it prints later belongs to nobody.
                let until = Instant::now() + Duration::from_secs(2);
                while !reader.is_finished() && Instant::now() < until {
                    thread::sleep(Duration::from_millis(2));
                }
            }
            self.ended = Some(status.into());
        }
        Ok(self.ended)
    }

    /// Waits for the end, at most so long.
    pub fn wait(&mut self, limit: Duration) -> Result<Exit> {
        let until = Instant::now() + limit;
        loop {
            if let Some(exit) = self.ended()? {
                return Ok(exit);
            }
            if Instant::now() >= until {
                bail!("still running after {limit:?}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the output contains the text. For synchronisation only (when may input be sent),
    /// never for judging.
    pub fn wait_for_text(&mut self, text: &str, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        while !self.output().contains(text) {
            if let Some(exit) = self.ended()? {
                bail!("ended ({exit:?}) before it printed {text:?}");
            }
            if Instant::now() >= until {
                bail!("did not print {text:?} within {limit:?}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Writes to standard input.
    pub fn write(&mut self, text: &str) -> Result<()> {
        let Some(stdin) = self.stdin.as_mut() else { bail!("standard input is closed") };
        stdin.write_all(text.as_bytes())?;
        Ok(stdin.flush()?)
    }

    /// Closes standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Sends the signal (`INT`, `TERM` …) to the process itself, not to its group.
    pub fn signal(&self, name: &str) -> Result<()> {
        kill(name, self.child.id(), false)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // Not an error when it is gone already.
            let _ = kill("KILL", self.child.id(), true);
            let _ = self.child.wait();
        }
    }
}

/// Sends SIG`name` to a process, or with `whole_group` to the group that it leads.
pub(crate) fn kill(name: &str, id: u32, whole_group: bool) -> Result<()> {
    let signal: Signal = format!("SIG{name}").parse()?;
    let id = i32::try_from(id)?;
    let target = Pid::from_raw(if whole_group { -id } else { id });
    signal::kill(target, signal).with_context(|| format!("SIG{name} for {target}"))
}

fn collect(
    mut from: impl Read + Send + 'static,
    into: &Arc<Mutex<Vec<u8>>>,
) -> thread::JoinHandle<()> {
    let into = Arc::clone(into);
    thread::spawn(move || {
        let mut block = [0_u8; 8192];
        while let Ok(count) = from.read(&mut block) {
            if count == 0 {
                return;
            }
            locked(&into).extend_from_slice(block.get(..count).unwrap_or_default());
        }
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
