//! The console of the program: a terminal, or a pair of plain streams.
//!
//! `egg` says which one through the settings: with a terminal on its side, the program gets one
//! too (line editing, Ctrl-C, `isatty`). Without, bytes pass as they are, and what a key would do
//! comes as an escape: DLE and a letter.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::io::{Sink, Source};
use base::sync::{Rank, SpinLock};
use base::{Errno, Signal};
use core::any::Any;
use sched::{Notifier, PollEvents};
use syscalls::process::Process;
use syscalls::signal::SignalInfo;
use vfs::file::File;
use vfs::metadata::{FileType, Metadata};
use vfs::tty::{Tty, TtyHooks};

/// With this many bytes waiting for the program no more are taken from the line: whoever sends
/// waits, as at a pipe. (An escape behind them waits too.)
const INPUT_BYTES: usize = 64 * 1024;
/// How much is taken from the line at once.
const CHUNK_BYTES: usize = 64;
/// Starts an escape on a plain input stream.
const ESCAPE: u8 = 0x10;
/// Escapes: the end of the input, and the signals of Ctrl-C and Ctrl-\.
const ESCAPED_END: u8 = b'd';
const ESCAPED_INTERRUPT: u8 = b'c';
const ESCAPED_QUIT: u8 = b'q';

const SIGINT: Signal = Signal(2);
const SIGQUIT: Signal = Signal(3);

/// Whom the console's signals go to: set once the process exists.
#[derive(Default)]
pub(crate) struct Target(SpinLock<Weak<Process>>);

impl Target {
    pub(crate) fn set(&self, process: &Arc<Process>) {
        *self.0.lock() = Arc::downgrade(process);
    }

    fn send(&self, signal: Signal) {
        let process = self.0.lock().upgrade();
        if let Some(process) = process {
            // A standard signal always fits the queue.
            let _ = process.send_signal(SignalInfo::from_kernel(signal));
        }
    }
}

/// The console.
pub struct Console {
    /// The terminal: also /dev/tty and /dev/console.
    pub(crate) tty: Arc<Tty>,
    /// Plain streams in its place.
    plain: Option<Arc<PlainConsole>>,
}

impl Console {
    pub(crate) fn new(is_terminal: bool, target: &Arc<Target>) -> Self {
        let to = Arc::clone(target);
        let hooks = TtyHooks {
            output: Box::new(hal::console::write),
            signal: Box::new(move |signal| to.send(signal)),
        };
        let tty = Tty::new(hooks, syscalls::process::PROCESS_ID.0);
        let plain = (!is_terminal).then(|| Arc::new(PlainConsole::new(Arc::clone(target))));
        Self { tty, plain }
    }

    /// The file for plain standard streams; `None`: open the terminal.
    pub(crate) fn plain(&self) -> Option<Arc<PlainConsole>> {
        self.plain.clone()
    }

    /// Moves typed bytes from the machine to the program.
    pub(crate) fn receive(&self) {
        let mut bytes = [0; CHUNK_BYTES];
        match &self.plain {
            Some(plain) => plain.pull(),
            None => {
                while let Some(typed) = typed(&mut bytes) {
                    self.tty.input(typed);
                }
            }
        }
    }
}

/// The next bytes that came over the line; `None` when there are none.
fn typed(bytes: &mut [u8; CHUNK_BYTES]) -> Option<&[u8]> {
    let count = hal::console::read(bytes);
    bytes.get(..count).filter(|typed| !typed.is_empty())
}

#[derive(Default)]
struct Input {
    bytes: VecDeque<u8>,
    escaped: bool,
    ended: bool,
}

/// Standard input, output and error as streams of bytes.
pub(crate) struct PlainConsole {
    number: u64,
    input: SpinLock<Input>,
    notifier: Notifier,
    target: Arc<Target>,
}

impl PlainConsole {
    fn new(target: Arc<Target>) -> Self {
        let number = vfs::anonymous::next_number();
        Self {
            number,
            input: SpinLock::ranked(Rank::Typed, Input::default()),
            notifier: Notifier::new(),
            target,
        }
    }

    /// Takes what came over the line, as far as there is room.
    fn pull(&self) {
        let mut bytes = [0; CHUNK_BYTES];
        while self.input.lock().bytes.len() < INPUT_BYTES {
            let Some(typed) = typed(&mut bytes) else { return };
            self.input(typed);
        }
    }

    fn input(&self, typed: &[u8]) {
        let mut signals = Vec::new();
        {
            let mut input = self.input.lock();
            for &byte in typed {
                match (core::mem::take(&mut input.escaped), byte) {
                    (false, ESCAPE) => input.escaped = true,
                    (true, ESCAPED_END) => input.ended = true,
                    (true, ESCAPED_INTERRUPT) => signals.push(SIGINT),
                    (true, ESCAPED_QUIT) => signals.push(SIGQUIT),
                    _ => input.bytes.push_back(byte),
                }
            }
        }
        self.notifier.notify(PollEvents::IN | PollEvents::RDNORM);
        for signal in signals {
            self.target.send(signal);
        }
    }
}

impl File for PlainConsole {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(FileType::Fifo, 0o600, self.number))
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let count = {
            let mut input = self.input.lock();
            if input.bytes.is_empty() {
                return if input.ended { Ok(0) } else { Err(Errno::EAGAIN) };
            }
            let (front, _) = input.bytes.as_slices();
            let count = sink.put(front)?;
            input.bytes.drain(..count);
            count
        };
        // What had no room stayed on the line, and the line calls only once.
        self.pull();
        Ok(count)
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        let mut done = 0;
        let mut chunk = [0; 512];
        while source.remaining() > 0 {
            let count = match source.take(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            };
            hal::console::write(chunk.get(..count).unwrap_or_default());
            done += count;
        }
        Ok(done)
    }

    fn poll(&self) -> PollEvents {
        let input = self.input.lock();
        let readable = !input.bytes.is_empty() || input.ended;
        let ready =
            if readable { PollEvents::IN | PollEvents::RDNORM } else { PollEvents::empty() };
        ready | PollEvents::OUT | PollEvents::WRNORM
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.notifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::io::SliceSink;

    /// A program that reads more slowly than the bytes come loses none of them.
    #[test]
    fn piped_input_waits_for_a_slow_program() {
        hal::sim::reset(1, 64);
        let console = Console::new(false, &Arc::new(Target::default()));
        let plain = console.plain().expect("no terminal was asked for");
        let sent: Vec<u8> = (0..300_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
        let mut line = Vec::new();
        for &byte in &sent {
            if byte == ESCAPE {
                line.push(ESCAPE);
            }
            line.push(byte);
        }
        line.extend([ESCAPE, ESCAPED_END]);
        hal::sim::type_console(&line);
        // One interrupt: the line does not call again before it was read empty.
        console.receive();
        let mut got = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            let mut sink = SliceSink::new(&mut buffer);
            match plain.read(0, &mut sink) {
                Ok(0) => break,
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(errno) => panic!("read: {errno} after {} bytes", got.len()),
            }
        }
        assert!(got == sent, "{} bytes came of {}", got.len(), sent.len());
    }
}
