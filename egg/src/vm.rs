//! A running machine: its console on this terminal, its control channel, its end.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::cli::MachineKind;
use crate::control::{Event, Lines};
use crate::launch;
use crate::outcome::{self, Outcome, Runner};
use crate::qemu::Machine;
use crate::terminal;

/// What the machine is connected to.
pub(crate) struct Connection<'a> {
    /// The machine's console is a terminal; else it is a plain stream, on which keys are escapes.
    pub(crate) terminal: bool,
    /// Pass standard input on.
    pub(crate) input: bool,
    /// Console output goes to standard output; else it is dropped.
    pub(crate) output: bool,
    /// Kill it after that time.
    pub(crate) limit: Option<Duration>,
    /// Told what the kernel says to `egg`.
    pub(crate) on_event: &'a mut dyn FnMut(&Event),
    /// Print QEMU's messages as they come.
    pub(crate) verbose: bool,
}

/// The signals that `egg` waits for.
const PASSED: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGCHLD,
    Signal::SIGWINCH,
];
/// Ctrl-C again within this time ends the machine.
const TWICE: Duration = Duration::from_secs(2);
/// Input waits for the kernel's `ready`, at most this long: what comes while the serial port is
/// being set up would be lost.
const READY_AT_LAST: Duration = Duration::from_secs(5);
/// QEMU gets this long to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);
/// A program that was told to end gets 10 s from the kernel (`system::target`); a kernel that does
/// not end it then is not waited for.
const ENDS_AT_LAST: Duration = Duration::from_secs(12);
/// Input that may wait for the machine, in bytes. More is not read, or dropped from a terminal.
const BACKLOG: usize = 1 << 16;
/// QEMU's messages that are kept, in bytes.
const MESSAGES: usize = 1 << 16;

/// Ctrl-C as a byte: the machine's line discipline makes SIGINT of it.
const INTERRUPT: u8 = 3;
/// What is no byte for the program goes as DLE and a letter; a DLE of the input is doubled. Where the
/// console is no terminal, keys go so too. The kernel's side is `system::line`.
const ESCAPE: u8 = 0x10;
const ESCAPED_TERMINATE: [u8; 2] = [ESCAPE, b't'];
const ESCAPED_WINDOW: [u8; 2] = [ESCAPE, b'w'];
const ESCAPED_INTERRUPT: [u8; 2] = [ESCAPE, b'c'];
const ESCAPED_QUIT: [u8; 2] = [ESCAPE, b'q'];
const ESCAPED_END: [u8; 2] = [ESCAPE, b'd'];
/// Ctrl-\ and Ctrl-D as bytes.
const QUIT: u8 = 0x1c;
const END_OF_FILE: u8 = 4;

/// Runs the machine until it ends. `machine`'s channels are replaced by ours.
pub(crate) fn run(mut machine: Machine, connection: Connection<'_>) -> anyhow::Result<Outcome> {
    let signals = {
        let mut set = SigSet::empty();
        for signal in PASSED {
            set.add(signal);
        }
        set.thread_block()?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?
    };
    let is_process = machine.kind == MachineKind::Process;
    let launch::Launched { child, output, input, control } =
        launch::start(&mut machine, connection.verbose)?;
    let mut running = Running {
        child,
        console: Some(output),
        input: Some(input),
        control: Some(control),
        signals,
        started: Instant::now(),
        reads_input: connection.input,
        connection,
        to_machine: Vec::new(),
        lines: Lines::default(),
        messages: Vec::new(),
        ready: false,
        end: None,
        panic: None,
        last_interrupt: None,
        terminated: None,
        stopping: None,
        status: None,
        is_process,
    };
    let result = running.relay();
    if running.status.is_none() {
        // Only after an error of ours.
        let _ = running.child.kill();
        let _ = running.child.wait();
    }
    result?;
    Ok(running.outcome())
}

struct Running<'a> {
    child: Child,
    console: Option<OwnedFd>,
    input: Option<OwnedFd>,
    control: Option<OwnedFd>,
    signals: SignalFd,
    started: Instant,
    connection: Connection<'a>,
    reads_input: bool,
    to_machine: Vec<u8>,
    lines: Lines,
    messages: Vec<u8>,
    ready: bool,
    end: Option<Event>,
    is_process: bool,
    panic: Option<String>,
    last_interrupt: Option<Instant>,
    /// The program was told to end.
    terminated: Option<Instant>,
    stopping: Option<Stopping>,
    status: Option<ExitStatus>,
}

struct Stopping {
    why: Outcome,
    since: Instant,
    killed: bool,
}

/// What a wait has found.
#[derive(Default)]
struct Found {
    signals: bool,
    console: bool,
    console_writable: bool,
    control: bool,
    messages: bool,
    input: bool,
}

impl Running<'_> {
    fn relay(&mut self) -> anyhow::Result<()> {
        while self.status.is_none() || self.console.is_some() || self.control.is_some() {
            let found = self.wait()?;
            if found.control {
                self.read_control()?;
            }
            if found.console {
                self.read_console()?;
            }
            if found.messages {
                self.read_messages()?;
            }
            if found.signals {
                self.take_signals()?;
            }
            if found.input {
                self.read_input()?;
            }
            if found.console_writable {
                self.write_input()?;
            }
            self.check_time();
        }
        self.read_messages()
    }

    fn wait(&self) -> anyhow::Result<Found> {
        let stdin = io::stdin();
        let mut sources: Vec<(BorrowedFd<'_>, PollFlags, Source)> =
            vec![(self.signals.as_fd(), PollFlags::POLLIN, Source::Signals)];
        if let Some(console) = &self.console {
            sources.push((console.as_fd(), PollFlags::POLLIN, Source::Console));
        }
        if let Some(input) = &self.input
            && self.takes_input()
            && !self.to_machine.is_empty()
        {
            sources.push((input.as_fd(), PollFlags::POLLOUT, Source::ConsoleInput));
        }
        if let Some(control) = &self.control {
            sources.push((control.as_fd(), PollFlags::POLLIN, Source::Control));
        }
        if let Some(messages) = self.child.stderr.as_ref() {
            sources.push((messages.as_fd(), PollFlags::POLLIN, Source::Messages));
        }
        if self.reads_input && self.to_machine.len() < BACKLOG {
            sources.push((stdin.as_fd(), PollFlags::POLLIN, Source::Input));
        }
        let mut polled: Vec<_> =
            sources.iter().map(|(source, wanted, _)| PollFd::new(*source, *wanted)).collect();
        match poll(&mut polled, self.timeout()) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut found = Found::default();
        for (polled, (_, _, source)) in polled.iter().zip(&sources) {
            let events = polled.revents().unwrap_or(PollFlags::empty());
            let readable =
                events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR);
            match source {
                Source::Signals => found.signals = readable,
                Source::Console => found.console = readable,
                Source::ConsoleInput => {
                    found.console_writable =
                        events.intersects(PollFlags::POLLOUT | PollFlags::POLLERR);
                }
                Source::Control => found.control = readable,
                Source::Messages => found.messages = readable,
                Source::Input => found.input = readable,
            }
        }
        Ok(found)
    }

    /// Time is only looked at while something may run out.
    fn timeout(&self) -> PollTimeout {
        let watched = !self.ready
            || self.terminated.is_some()
            || self.stopping.is_some()
            || self.connection.limit.is_some();
        if watched { PollTimeout::from(50_u8) } else { PollTimeout::NONE }
    }

    fn takes_input(&self) -> bool {
        self.ready || self.started.elapsed() > READY_AT_LAST
    }

    fn read_control(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 4096];
        let Some(count) = read(&mut self.control, &mut buffer)? else { return Ok(()) };
        for event in self.lines.push(buffer.get(..count).unwrap_or_default()) {
            match &event {
                Event::Ready => {
                    self.ready = true;
                    // It may have changed since the image was made.
                    self.tell_window();
                }
                Event::Exit(_) | Event::Signal(_) | Event::Refused(_) => {
                    self.end = Some(event.clone())
                }
                Event::Panic(text) => self.panic = Some(text.clone()),
                Event::Frame(_)
                | Event::Net(_)
                | Event::Warn(_)
                | Event::Trace(_)
                | Event::Unimplemented(..)
                | Event::File { .. }
                | Event::Unknown(_) => {}
            }
            (self.connection.on_event)(&event);
        }
        Ok(())
    }

    fn read_console(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 16384];
        let Some(count) = read(&mut self.console, &mut buffer)? else { return Ok(()) };
        let output = buffer.get(..count).unwrap_or_default();
        if !self.connection.output {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(output).and_then(|()| stdout.flush()) {
            // Nobody reads any more: the program's output leads nowhere, as with SIGPIPE.
            anyhow::ensure!(error.kind() == io::ErrorKind::BrokenPipe, "standard output: {error}");
            self.connection.output = false;
            self.stop(Outcome::Stopped(Signal::SIGPIPE as u8));
        }
        Ok(())
    }

    fn read_messages(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 4096];
        while let Some(stream) = self.child.stderr.as_mut() {
            let count = io::Read::read(stream, &mut buffer)?;
            if count == 0 {
                self.child.stderr = None;
                break;
            }
            let text = buffer.get(..count).unwrap_or_default();
            if self.connection.verbose {
                terminal::show(text);
            }
            if self.messages.len() < MESSAGES {
                self.messages.extend_from_slice(text);
            }
            if self.status.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn take_signals(&mut self) -> anyhow::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok());
            match signal {
                Some(Signal::SIGINT) => self.interrupt(),
                Some(Signal::SIGQUIT) => self.press(QUIT, ESCAPED_QUIT),
                Some(Signal::SIGTERM) => self.terminate(),
                Some(Signal::SIGHUP) => self.stop(Outcome::Stopped(Signal::SIGHUP as u8)),
                Some(Signal::SIGWINCH) => self.tell_window(),
                _ => self.status = self.child.try_wait()?.or(self.status),
            }
        }
        Ok(())
    }

    /// SIGINT from elsewhere counts as the key does.
    fn interrupt(&mut self) {
        self.press(INTERRUPT, ESCAPED_INTERRUPT);
        self.count_interrupt();
    }

    /// The program gets SIGTERM, and time to end. A second time, or before it runs, ends the machine.
    fn terminate(&mut self) {
        if !self.ready || self.terminated.is_some() {
            self.stop(Outcome::Stopped(Signal::SIGTERM as u8));
            return;
        }
        self.to_machine.extend(ESCAPED_TERMINATE);
        self.terminated = Some(Instant::now());
    }

    /// Tells the machine how large the terminal's window is.
    fn tell_window(&mut self) {
        if self.connection.terminal
            && let Some(window) = terminal::window()
        {
            self.to_machine.extend(ESCAPED_WINDOW);
            self.to_machine.extend(format!("{window}\n").bytes());
        }
    }

    /// Presses a key, or sends what stands for it.
    fn press(&mut self, key: u8, escaped: [u8; 2]) {
        if self.connection.terminal {
            self.to_machine.push(key);
        } else {
            self.to_machine.extend(escaped);
        }
    }

    fn count_interrupt(&mut self) {
        if self.last_interrupt.is_some_and(|last| last.elapsed() < TWICE) {
            self.stop(Outcome::Stopped(Signal::SIGINT as u8));
        }
        self.last_interrupt = Some(Instant::now());
    }

    fn read_input(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 4096];
        let count = match nix::unistd::read(io::stdin(), &mut buffer) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => return Ok(()),
            // As good as its end: the terminal is gone.
            Err(_) => 0,
        };
        let input = buffer.get(..count).unwrap_or_default();
        if input.is_empty() {
            self.reads_input = false;
            self.press(END_OF_FILE, ESCAPED_END);
            return Ok(());
        }
        self.to_machine.extend(escape(input));
        if !self.connection.terminal {
            return Ok(());
        }
        // A machine that reads nothing must still be stoppable.
        self.to_machine.truncate(BACKLOG - 1);
        for _ in input.iter().filter(|&&byte| byte == INTERRUPT) {
            self.count_interrupt();
        }
        Ok(())
    }

    fn write_input(&mut self) -> anyhow::Result<()> {
        let Some(input) = &self.input else { return Ok(()) };
        match nix::unistd::write(input, &self.to_machine) {
            Ok(count) => drop(self.to_machine.drain(..count)),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
            // QEMU is gone; how it ended is seen elsewhere.
            Err(_) => self.input = None,
        }
        Ok(())
    }

    fn check_time(&mut self) {
        if self.connection.limit.is_some_and(|limit| self.started.elapsed() > limit) {
            self.stop(Outcome::TimedOut);
        }
        if self.terminated.is_some_and(|since| since.elapsed() > ENDS_AT_LAST) {
            self.stop(Outcome::Stopped(Signal::SIGTERM as u8));
        }
        if let Some(stopping) = &mut self.stopping
            && !stopping.killed
            && stopping.since.elapsed() > GRACE
        {
            stopping.killed = true;
            let _ = self.child.kill();
        }
    }

    fn stop(&mut self, why: Outcome) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping { why, since: Instant::now(), killed: false });
        if self.status.is_none()
            && let Ok(id) = i32::try_from(self.child.id())
        {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), Signal::SIGTERM);
        }
    }

    fn outcome(self) -> Outcome {
        let status = self.status.unwrap_or_default();
        let messages = String::from_utf8_lossy(&self.messages);
        let outcome = outcome::judge(
            self.end,
            self.panic,
            status,
            Runner { is_process: self.is_process, messages: messages.trim() },
            self.stopping.map(|row| row.why),
        );
        match outcome {
            // Whoever sent it knows.
            Outcome::Killed(number)
                if self.terminated.is_some() && number == Signal::SIGTERM as u8 =>
            {
                Outcome::Stopped(number)
            }
            other => other,
        }
    }
}

enum Source {
    Signals,
    Console,
    ConsoleInput,
    Control,
    Messages,
    Input,
}

/// Input as bytes that only mean themselves.
fn escape(input: &[u8]) -> impl Iterator<Item = u8> {
    input.iter().flat_map(|&byte| {
        let doubled = (byte == ESCAPE).then_some(byte);
        std::iter::once(byte).chain(doubled)
    })
}

/// Reads once. `None`, and the stream closed, at its end.
fn read(stream: &mut Option<OwnedFd>, buffer: &mut [u8]) -> anyhow::Result<Option<usize>> {
    let Some(open) = stream else { return Ok(None) };
    match nix::unistd::read(open, buffer) {
        Ok(0) | Err(nix::errno::Errno::ECONNRESET) => {
            *stream = None;
            Ok(None)
        }
        Ok(count) => Ok(Some(count)),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_is_escaped() {
        let escaped: Vec<u8> = escape(b"a\x10d\x03").collect();
        assert_eq!(escaped, b"a\x10\x10d\x03");
    }
}
