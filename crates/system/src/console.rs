//! The console of the program: a terminal, or a pair of plain streams.
//!
//! `egg` says which one through the settings: with a terminal on its side, the program gets one
//! too (line editing, Ctrl-C, `isatty`). Without, bytes pass as they are. What is no byte for the
//! program comes as an escape, see [`crate::line`].

use crate::line::{Item, Line};
use crate::target::Target;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::io::{Sink, Source, fill};
use base::sync::{Rank, SpinLock};
use base::{Errno, Signal};
use bundle::config::Window;
use core::any::Any;
use sched::{Notifier, PollEvents};
use vfs::file::File;
use vfs::metadata::{FileType, Metadata};
use vfs::tty::{Tty, TtyHooks, WindowSize};

/// With this many bytes waiting for the program no more are taken from the line: whoever sends
/// waits, as at a pipe. (An escape behind them waits too.)
const INPUT_BYTES: usize = 64 * 1024;
/// How much is taken from the line at once.
const CHUNK_BYTES: usize = 64;
const SIGINT: Signal = Signal(2);
const SIGQUIT: Signal = Signal(3);

/// The console.
pub struct Console {
    /// The terminal: also /dev/tty and /dev/console.
    pub(crate) tty: Arc<Tty>,
    /// The line to the terminal.
    line: SpinLock<Line>,
    /// Plain streams in the terminal's place.
    plain: Option<Arc<PlainConsole>>,
    target: Arc<Target>,
}

impl Console {
    /// `window`: the size that the terminal has from the start.
    pub(crate) fn new(is_terminal: bool, window: Option<Window>, target: &Arc<Target>) -> Self {
        let to = Arc::clone(target);
        let hooks = TtyHooks {
            output: Box::new(hal::console::write),
            signal: Box::new(move |signal| to.send(signal)),
        };
        let tty = Tty::new(hooks, syscalls::process::PROCESS_ID.0);
        if let Some(window) = window {
            // There is no process yet that would get SIGWINCH.
            tty.set_window(size(window));
        }
        let plain = (!is_terminal).then(|| Arc::new(PlainConsole::new(Arc::clone(target))));
        Self { tty, line: SpinLock::default(), plain, target: Arc::clone(target) }
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
                    self.input(typed);
                }
            }
        }
    }

    fn input(&self, typed: &[u8]) {
        let mut keys = Vec::new();
        for &byte in typed {
            let item = self.line.lock().take(byte);
            match item {
                Some(Item::Byte(key)) => keys.push(key),
                Some(item) => {
                    self.tty.input(&core::mem::take(&mut keys));
                    match item {
                        Item::Window(window) => self.tty.set_window(size(window)),
                        other => act(&self.target, other),
                    }
                }
                None => {}
            }
        }
        self.tty.input(&keys);
    }
}

fn size(window: Window) -> WindowSize {
    let Window { rows, columns, width, height } = window;
    WindowSize { rows, columns, width, height }
}

/// Does what an escape asks for, as far as it means the same with a terminal and without.
fn act(target: &Target, item: Item) {
    match item {
        Item::Interrupt => target.send(SIGINT),
        Item::Quit => target.send(SIGQUIT),
        Item::Terminate => target.terminate(),
        Item::Byte(_) | Item::End | Item::Window(_) => {}
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
    line: Line,
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
        let mut escapes = Vec::new();
        {
            let mut input = self.input.lock();
            for &byte in typed {
                match input.line.take(byte) {
                    Some(Item::Byte(byte)) => input.bytes.push_back(byte),
                    Some(Item::End) => input.ended = true,
                    Some(escape) => escapes.push(escape),
                    None => {}
                }
            }
        }
        self.notifier.notify(PollEvents::READABLE);
        for escape in escapes {
            act(&self.target, escape);
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
        let count = fill(sink, |sink, _| {
            let mut input = self.input.lock();
            if input.bytes.is_empty() {
                return if input.ended { Ok(0) } else { Err(Errno::EAGAIN) };
            }
            let (front, _) = input.bytes.as_slices();
            let count = sink.put_present(front.get(..sink.room()).unwrap_or(front));
            input.bytes.drain(..count);
            Ok(count)
        })?;
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
        let ready = if readable { PollEvents::READABLE } else { PollEvents::empty() };
        ready | PollEvents::WRITABLE
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.notifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::ESCAPE;
    use base::io::SliceSink;

    /// A program that reads more slowly than the bytes come loses none of them.
    #[test]
    fn piped_input_waits_for_a_slow_program() {
        hal::sim::reset(1, 64);
        let console = Console::new(false, None, &Arc::new(Target::default()));
        let plain = console.plain().expect("no terminal was asked for");
        let sent: Vec<u8> = (0..300_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
        let mut line = Vec::new();
        for &byte in &sent {
            if byte == ESCAPE {
                line.push(ESCAPE);
            }
            line.push(byte);
        }
        line.extend([ESCAPE, b'd']);
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
