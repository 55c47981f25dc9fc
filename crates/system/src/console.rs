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
use base::sync::SpinLock;
use base::{Errno, Signal, WallTime};
use core::any::Any;
use sched::{Notifier, PollEvents};
use syscalls::process::Process;
use syscalls::signal::SignalInfo;
use vfs::file::File;
use vfs::metadata::{FileType, Metadata};
use vfs::tty::{Tty, TtyHooks};

/// Most typed bytes kept for a program that does not read.
const INPUT_BYTES: usize = 64 * 1024;
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
        let mut bytes = [0; 64];
        loop {
            let count = hal::console::read(&mut bytes);
            let Some(typed) = bytes.get(..count).filter(|typed| !typed.is_empty()) else { return };
            match &self.plain {
                Some(plain) => plain.input(typed),
                None => self.tty.input(typed),
            }
        }
    }
}

#[derive(Default)]
struct Input {
    bytes: VecDeque<u8>,
    escaped: bool,
    ended: bool,
}

/// Standard input, output and error as streams of bytes.
pub(crate) struct PlainConsole {
    input: SpinLock<Input>,
    notifier: Notifier,
    target: Arc<Target>,
}

impl PlainConsole {
    fn new(target: Arc<Target>) -> Self {
        Self { input: SpinLock::default(), notifier: Notifier::new(), target }
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
                    _ if input.bytes.len() < INPUT_BYTES => input.bytes.push_back(byte),
                    _ => {}
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
        let time = WallTime::default();
        Ok(Metadata {
            kind: FileType::Fifo,
            permissions: 0o600,
            inode: 1,
            device: 12,
            special_device: 0,
            links: 1,
            user: 0,
            group: 0,
            bytes: 0,
            blocks: 0,
            accessed: time,
            modified: time,
            changed: time,
            created: time,
        })
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut input = self.input.lock();
        if input.bytes.is_empty() {
            return if input.ended { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        let (front, _) = input.bytes.as_slices();
        let count = sink.put(front)?;
        input.bytes.drain(..count);
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
