//! The master of a pseudo terminal: what is written to it is typed, what it reads was shown.

use super::{Pty, State, packet};
use crate::device::device_number;
use crate::file::{File, IoctlArgument};
use crate::metadata::{FileType, Metadata};
use crate::tty::{Tty, command};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use base::io::{Sink, Source, fill, in_parts};
use base::{Errno, Signal};
use core::any::Any;
use sched::{Notifier, PollEvents};

const NUMBER: u64 = device_number(5, 2);

/// An open master.
pub struct PtyMaster {
    pub(super) pty: Arc<Pty>,
}

impl PtyMaster {
    /// The pseudo terminal.
    pub(crate) fn pty(&self) -> &Arc<Pty> {
        &self.pty
    }

    /// Moves output to the program.
    fn give(&self, sink: &mut dyn Sink, is_first: bool) -> Result<usize, Errno> {
        let mut state = self.pty.state.lock();
        let State { output, packets, events, slaves_gone, .. } = &mut *state;
        if *packets && is_first {
            let event = core::mem::take(events);
            let byte = if event == 0 { packet::DATA } else { event };
            if event != 0 || !output.is_empty() {
                if sink.put_present(&[byte]) == 0 {
                    *events = event;
                    return Ok(0);
                }
                if event != 0 {
                    return Ok(1);
                }
                return Ok(1 + pass(output, sink));
            }
        }
        if output.is_empty() && is_first {
            return Err(if *slaves_gone { Errno::EIO } else { Errno::EAGAIN });
        }
        Ok(pass(output, sink))
    }

    /// ioctl(2) of the master alone; `None`: of the terminal.
    fn own_ioctl(
        &self,
        number: u32,
        argument: &mut dyn IoctlArgument,
    ) -> Option<Result<usize, Errno>> {
        let mut flag = |set: &dyn Fn(&mut State, bool)| {
            let mut bytes = [0; 4];
            argument.load(&mut bytes)?;
            set(&mut self.pty.state.lock(), bytes != [0; 4]);
            Ok(0)
        };
        let value = match number {
            command::TIOCSPTLCK => return Some(flag(&|state, on| state.locked = on)),
            command::TIOCPKT => {
                return Some(flag(&|state, on| {
                    if on && !state.packets {
                        state.events = 0;
                    }
                    state.packets = on;
                }));
            }
            command::TIOCGPTN => self.pty.index,
            command::TIOCGPTLCK => u32::from(self.pty.state.lock().locked),
            command::TIOCGPKT => u32::from(self.pty.state.lock().packets),
            command::FIONREAD => self.pty.state.lock().output.len() as u32,
            command::TIOCGPGRP | command::TIOCGSID => match self.pty.tty.foreground() {
                0 if number == command::TIOCGSID => return Some(Err(Errno::ENOTTY)),
                group => group,
            },
            command::TIOCSIG => {
                let signal = argument.value();
                if !(1..=64).contains(&signal) {
                    return Some(Err(Errno::EINVAL));
                }
                self.pty.send(Signal(signal as u8));
                return Some(Ok(0));
            }
            command::TCFLSH => {
                if argument.value() < 3 && argument.value() != 1 {
                    self.pty.state.lock().output.clear();
                }
                return Some(if argument.value() < 3 { Ok(0) } else { Err(Errno::EINVAL) });
            }
            command::TIOCSCTTY | command::TIOCNOTTY | command::TIOCSPGRP => {
                return Some(Err(Errno::ENOTTY));
            }
            _ => return None,
        };
        Some(Tty::store_u32(argument, value))
    }
}

impl Drop for PtyMaster {
    fn drop(&mut self) {
        self.pty.hang_up();
    }
}

/// Moves as much as fits.
fn pass(output: &mut VecDeque<u8>, sink: &mut dyn Sink) -> usize {
    let mut done = 0;
    while sink.room() > 0 {
        let (piece, _) = output.as_slices();
        let piece = piece.get(..piece.len().min(sink.room())).unwrap_or_default();
        let moved = sink.put_present(piece);
        let is_all = moved == piece.len() && moved > 0;
        output.drain(..moved);
        done += moved;
        if !is_all {
            break;
        }
    }
    done
}

impl File for PtyMaster {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        let number = u64::from(self.pty.index);
        let mut metadata = Metadata::anonymous(FileType::CharacterDevice, 0o666, number);
        metadata.special_device = NUMBER;
        Ok(metadata)
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if sink.room() == 0 {
            return Ok(0);
        }
        let count = fill(sink, |sink, more| self.give(sink, !more))?;
        self.pty.tty.notifier.notify(PollEvents::WRITABLE);
        Ok(count)
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        let mut bounce = [0; 256];
        in_parts(&mut |_| {
            if source.remaining() == 0 {
                return Ok(0);
            }
            let room = self.pty.tty.input_room().min(bounce.len());
            let into =
                bounce.get_mut(..room).filter(|into| !into.is_empty()).ok_or(Errno::EAGAIN)?;
            let count = source.take(into)?;
            self.pty.tty.input(bounce.get(..count).unwrap_or_default());
            Ok(count)
        })
    }

    fn poll(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        if self.pty.tty.input_room() > 0 {
            events |= PollEvents::WRITABLE;
        }
        let state = self.pty.state.lock();
        if !state.output.is_empty() {
            events |= PollEvents::READABLE;
        }
        if state.packets && state.events != 0 {
            events |= PollEvents::READABLE | PollEvents::PRI;
        }
        if state.slaves_gone {
            events |= PollEvents::HUP;
        }
        events
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.pty.notifier)
    }

    fn sends_signals(&self) -> bool {
        true
    }

    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn ioctl(&self, number: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        self.own_ioctl(number, argument).unwrap_or_else(|| self.pty.ioctl(number, argument))
    }

    fn describe(&self) -> String {
        String::from("/dev/ptmx")
    }
}
