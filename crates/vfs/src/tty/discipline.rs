//! The line discipline: from typed bytes to what the program reads.

use super::settings::{InputFlags, Key, LocalFlags, Settings};
use super::{SIGINT, SIGQUIT, SIGTSTP};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use base::io::Sink;
use base::{Errno, Instant, Signal};

/// Typed bytes kept, as in Linux (N_TTY_BUF_SIZE).
const BYTES_MAX: usize = 4096;

/// What a typed byte causes beside input.
#[derive(Default)]
pub(super) struct Effect {
    pub(super) echo: Vec<u8>,
    pub(super) signal: Option<Signal>,
}

#[derive(Default)]
pub(super) struct Discipline {
    /// Bytes that can be read.
    input: VecDeque<u8>,
    /// Lengths of the finished lines in `input`, in canonical mode. 0: end of file.
    lines: VecDeque<usize>,
    /// The line being edited, in canonical mode.
    edit: Vec<u8>,
    /// The next byte is taken as it is (^V).
    literal: bool,
    /// When the last byte was typed.
    last: Instant,
}

fn echoed(byte: u8, settings: &Settings) -> Vec<u8> {
    let mut echo = Vec::new();
    let is_control = (byte < 0x20 && byte != b'\t' && byte != b'\n') || byte == 0x7f;
    if is_control && settings.local.contains(LocalFlags::ECHOCTL) {
        echo.extend_from_slice(&[b'^', byte ^ 0x40]);
    } else {
        echo.push(byte);
    }
    echo
}

impl Discipline {
    /// Takes one byte, typed at `now`.
    pub(super) fn take(&mut self, byte: u8, settings: &Settings, now: Instant) -> Effect {
        self.last = now;
        let local = settings.local;
        let mut effect = Effect::default();
        if core::mem::take(&mut self.literal) {
            self.put(byte, settings, &mut effect);
            return effect;
        }
        let byte = match byte {
            b'\r' if settings.input.contains(InputFlags::IGNCR) => return effect,
            b'\r' if settings.input.contains(InputFlags::ICRNL) => b'\n',
            b'\n' if settings.input.contains(InputFlags::INLCR) => b'\r',
            byte => byte,
        };
        if settings.input.contains(InputFlags::IXON)
            && (settings.is(byte, Key::Start) || settings.is(byte, Key::Stop))
        {
            return effect;
        }
        if local.contains(LocalFlags::ISIG)
            && let Some(signal) = signal_of(byte, settings)
        {
            if !local.contains(LocalFlags::NOFLSH) {
                self.flush();
            }
            if local.contains(LocalFlags::ECHO) {
                effect.echo = echoed(byte, settings);
            }
            effect.signal = Some(signal);
            return effect;
        }
        if local.contains(LocalFlags::ICANON) {
            self.edit(byte, settings, &mut effect);
        } else {
            self.put(byte, settings, &mut effect);
        }
        effect
    }

    fn put(&mut self, byte: u8, settings: &Settings, effect: &mut Effect) {
        if self.input.len() + self.edit.len() >= BYTES_MAX {
            return;
        }
        if settings.local.contains(LocalFlags::ICANON) {
            self.edit.push(byte);
        } else {
            self.input.push_back(byte);
        }
        if settings.local.contains(LocalFlags::ECHO) {
            effect.echo = echoed(byte, settings);
        }
    }

    fn finish_line(&mut self) {
        self.lines.push_back(self.edit.len());
        self.input.extend(self.edit.drain(..));
    }

    fn edit(&mut self, byte: u8, settings: &Settings, effect: &mut Effect) {
        let extended = settings.local.contains(LocalFlags::IEXTEN);
        if settings.is(byte, Key::Erase) {
            self.erase(1, settings, effect);
        } else if settings.is(byte, Key::Kill) {
            self.erase(usize::MAX, settings, effect);
        } else if extended && settings.is(byte, Key::WordErase) {
            let blanks = self.edit.iter().rev().take_while(|byte| **byte == b' ').count();
            let rest = self.edit.iter().rev().skip(blanks);
            let word = rest.take_while(|byte| **byte != b' ').count();
            self.erase(blanks + word, settings, effect);
        } else if extended && settings.is(byte, Key::LiteralNext) {
            self.literal = true;
        } else if settings.is(byte, Key::EndOfFile) {
            self.finish_line();
        } else {
            let is_end = byte == b'\n'
                || settings.is(byte, Key::EndOfLine)
                || settings.is(byte, Key::EndOfLine2);
            if !is_end {
                self.put(byte, settings, effect);
                return;
            }
            self.edit.push(byte);
            self.finish_line();
            if settings.local.intersects(LocalFlags::ECHO | LocalFlags::ECHONL) {
                effect.echo.push(byte);
            }
        }
    }

    /// Erases up to `count` characters of the line.
    fn erase(&mut self, count: usize, settings: &Settings, effect: &mut Effect) {
        let show = settings.local.contains(LocalFlags::ECHO | LocalFlags::ECHOE);
        for _ in 0..count {
            let Some(mut byte) = self.edit.pop() else { break };
            if settings.input.contains(InputFlags::IUTF8) {
                while byte & 0xc0 == 0x80 {
                    let Some(before) = self.edit.pop() else { break };
                    byte = before;
                }
            }
            if show {
                let wide = byte < 0x20 || byte == 0x7f;
                let columns =
                    if wide && settings.local.contains(LocalFlags::ECHOCTL) { 2 } else { 1 };
                for _ in 0..columns {
                    effect.echo.extend_from_slice(b"\x08 \x08");
                }
            }
        }
    }

    /// Drops everything typed and not read.
    pub(super) fn flush(&mut self) {
        self.input.clear();
        self.lines.clear();
        self.edit.clear();
        self.literal = false;
    }

    /// The program switched between lines and raw bytes.
    pub(super) fn change_mode(&mut self, canonical: bool) {
        if canonical {
            if !self.input.is_empty() {
                self.lines.push_back(self.input.len());
            }
        } else {
            self.input.extend(self.edit.drain(..));
            self.lines.clear();
        }
    }

    /// How many bytes may come without that any is lost that could be read. While lines are edited and
    /// none is finished, what is too long for one is dropped, so that its end is not.
    pub(super) fn room(&self, settings: &Settings) -> usize {
        if settings.local.contains(LocalFlags::ICANON) && self.lines.is_empty() {
            return BYTES_MAX;
        }
        BYTES_MAX.saturating_sub(self.input.len() + self.edit.len())
    }

    /// How many bytes a read would find.
    pub(super) fn readable(&self, settings: &Settings) -> usize {
        if settings.local.contains(LocalFlags::ICANON) {
            self.lines.iter().sum()
        } else {
            self.input.len()
        }
    }

    /// True when a read would not wait.
    pub(super) fn is_ready(&self, settings: &Settings) -> bool {
        if settings.local.contains(LocalFlags::ICANON) {
            !self.lines.is_empty()
        } else {
            // As Linux's n_tty_poll: with a time, a read does not wait for more than one byte.
            let least = if settings.time().is_zero() { settings.minimum().max(1) } else { 1 };
            self.input.len() >= least
        }
    }

    /// When a read in raw mode that began at `since` ends although no more is typed, and whether
    /// it may end with nothing (termios(3), VMIN and VTIME).
    pub(super) fn read_ends(&self, settings: &Settings, since: Instant) -> Option<(Instant, bool)> {
        let time = settings.time();
        if settings.local.contains(LocalFlags::ICANON) || time.is_zero() {
            return None;
        }
        if settings.minimum() == 0 {
            return Some((since + time, true));
        }
        (!self.input.is_empty()).then(|| (self.last + time, false))
    }

    /// True when a read in raw mode that wants `room` bytes has waited enough.
    fn suffices(&self, settings: &Settings, room: usize, now: Instant) -> bool {
        let (have, time) = (self.input.len(), settings.time());
        match settings.minimum() {
            0 => have > 0 || time.is_zero(),
            minimum if have >= minimum.min(room) => true,
            _ => have > 0 && !time.is_zero() && now >= self.last + time,
        }
    }

    /// Moves bytes to the program: one line at most in canonical mode. Stops, as
    /// [`Sink::put_present`] does.
    pub(super) fn give(
        &mut self,
        settings: &Settings,
        now: Instant,
        sink: &mut dyn Sink,
    ) -> Result<usize, Errno> {
        let canonical = settings.local.contains(LocalFlags::ICANON);
        let available = if canonical {
            *self.lines.front().ok_or(Errno::EAGAIN)?
        } else {
            if !self.suffices(settings, sink.room(), now) {
                return Err(Errno::EAGAIN);
            }
            self.input.len()
        };
        let mut done = 0;
        while done < available && sink.room() > 0 {
            let (piece, _) = self.input.as_slices();
            let count = piece.len().min(available - done).min(sink.room());
            let moved = sink.put_present(piece.get(..count).unwrap_or_default());
            self.input.drain(..moved);
            done += moved;
            if moved < count || count == 0 {
                break;
            }
        }
        if canonical {
            match self.lines.front_mut() {
                Some(line) if *line > done => *line -= done,
                _ => {
                    self.lines.pop_front();
                }
            }
        }
        Ok(done)
    }
}

fn signal_of(byte: u8, settings: &Settings) -> Option<Signal> {
    [(Key::Interrupt, SIGINT), (Key::Quit, SIGQUIT), (Key::Suspend, SIGTSTP)]
        .into_iter()
        .find(|(key, _)| settings.is(byte, *key))
        .map(|(_, signal)| signal)
}
