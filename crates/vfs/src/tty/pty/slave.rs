//! The slave of a pseudo terminal: a terminal as any, until its master is closed.

use super::{OUTPUT_MAX, Pty, packet};
use crate::file::{File, FileRef, IoctlArgument};
use crate::flags::OpenFlags;
use crate::metadata::{FileType, Metadata};
use crate::tty::{Tty, command};
use alloc::string::String;
use alloc::sync::Arc;
use base::Errno;
use base::io::{Sink, Source, in_parts};
use core::any::Any;
use core::sync::atomic::Ordering;
use sched::{Notifier, PollEvents};

/// An open slave.
pub struct PtySlave {
    pub(super) pty: Arc<Pty>,
}

impl PtySlave {
    /// The terminal that it is.
    pub(in crate::tty) fn tty(&self) -> &Tty {
        &self.pty.tty
    }

    fn is_hung_up(&self) -> bool {
        self.pty.hung_up.load(Ordering::Relaxed)
    }

    /// Bytes that may be written; half of the room, as a newline becomes two.
    fn room(&self) -> usize {
        OUTPUT_MAX.saturating_sub(self.pty.state.lock().output.len()) / 2
    }

    fn flush(&self, queues: u64) {
        if queues != 1 {
            self.pty.note(packet::FLUSH_READ, 0);
        }
        if queues != 0 {
            self.pty.state.lock().output.clear();
            self.pty.note(packet::FLUSH_WRITE, 0);
        }
    }
}

impl Drop for PtySlave {
    fn drop(&mut self) {
        {
            let mut state = self.pty.state.lock();
            state.slaves -= 1;
            if state.slaves > 0 {
                return;
            }
            state.slaves_gone = true;
        }
        self.pty.notifier.notify(PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::HUP);
    }
}

impl File for PtySlave {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        let number = u64::from(self.pty.index) + 3;
        let permissions = self.pty.permissions.load(Ordering::Relaxed);
        let mut metadata = Metadata::anonymous(FileType::CharacterDevice, permissions, number);
        metadata.special_device = self.pty.number();
        Ok(metadata)
    }

    fn read(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if self.is_hung_up() {
            return Ok(0);
        }
        let result = self.pty.tty.read(offset, sink);
        if result.is_ok() {
            self.pty.notifier.notify(PollEvents::WRITABLE);
        }
        result
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        let mut bounce = [0; 512];
        in_parts(&mut |_| {
            if source.remaining() == 0 {
                return Ok(0);
            }
            if self.is_hung_up() {
                return Err(Errno::EIO);
            }
            let room = self.room().min(bounce.len());
            let into =
                bounce.get_mut(..room).filter(|into| !into.is_empty()).ok_or(Errno::EAGAIN)?;
            let count = source.take(into)?;
            self.pty.tty.emit(bounce.get(..count).unwrap_or_default());
            Ok(count)
        })
    }

    fn poll(&self) -> PollEvents {
        if self.is_hung_up() {
            return PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::HUP | PollEvents::ERR;
        }
        let events = self.pty.tty.poll();
        if self.room() == 0 { events - PollEvents::WRITABLE } else { events }
    }

    fn sends_signals(&self) -> bool {
        true
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.pty.tty.notifier)
    }

    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn ioctl(&self, number: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        let controls = self.pty.tty.foreground() != 0;
        match number {
            command::TIOCSPGRP if self.is_hung_up() => return Err(Errno::ENOTTY),
            _ if self.is_hung_up() => return Err(Errno::EIO),
            command::TIOCGPGRP | command::TIOCGSID | command::TIOCSPGRP | command::TIOCNOTTY
                if !controls =>
            {
                return Err(Errno::ENOTTY);
            }
            command::TIOCSCTTY => return self.pty.control().map(|()| 0),
            command::TIOCSIG => return Err(Errno::ENOTTY),
            _ => {}
        }
        let result = self.pty.ioctl(number, argument)?;
        if number == command::TCFLSH {
            self.flush(argument.value());
        }
        Ok(result)
    }

    fn reopen(&self, _flags: OpenFlags) -> Result<FileRef, Errno> {
        self.pty.open_slave()
    }

    fn describe(&self) -> String {
        alloc::format!("/dev/pts/{}", self.pty.index)
    }
}
