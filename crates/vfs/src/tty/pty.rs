//! Pseudo terminals (pty(7), drivers/tty/pty.c): a terminal, and in the place of screen and keyboard a
//! file, its master.

use super::{Tty, TtyHooks, command};
use crate::device::{Device, device_number};
use crate::file::{File, FileRef, IoctlArgument};
use crate::flags::OpenFlags;
use crate::metadata::{FileType, Metadata};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::io::{Sink, Source, fill};
use base::sync::SpinLock;
use base::{Errno, Signal};
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use sched::{Notifier, PollEvents};

/// Bytes of output kept for the master: what Linux keeps of them, in all.
const OUTPUT_MAX: usize = 8192 + 4096;
/// Most pseudo terminals (/proc/sys/kernel/pty/max).
pub(crate) const PTYS_MAX: u32 = 256;
const MASTER: u64 = device_number(5, 2);
const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);

/// What the first byte of a read in packet mode says (tty_ioctl(4)).
mod packet {
    pub(super) const DATA: u8 = 0;
    pub(super) const FLUSH_READ: u8 = 1;
    pub(super) const FLUSH_WRITE: u8 = 2;
    pub(super) const NO_STOP: u8 = 16;
    pub(super) const DO_STOP: u8 = 32;
}

/// All pseudo terminals.
pub struct Ptys {
    /// By their numbers.
    rows: SpinLock<Vec<Weak<Pty>>>,
    /// The terminal that controls the session from the start: its signals reach the program.
    console: Arc<Tty>,
}

/// One pseudo terminal.
pub(crate) struct Pty {
    index: u32,
    tty: Arc<Tty>,
    state: SpinLock<State>,
    /// Who reads and writes the master.
    notifier: Notifier,
    ptys: Arc<Ptys>,
    /// Permissions of its device file.
    permissions: AtomicU32,
    /// Who owns that: who opened the master.
    owner: AtomicU32,
    /// The master is gone.
    hung_up: AtomicBool,
}

#[derive(Default)]
struct State {
    /// What the terminal shows.
    output: VecDeque<u8>,
    /// Open files of the slave.
    slaves: usize,
    /// There were some and are none.
    slaves_gone: bool,
    /// The slave cannot be opened (`TIOCSPTLCK`).
    locked: bool,
    /// `TIOCPKT`.
    packets: bool,
    /// What happened, for the next read in packet mode.
    events: u8,
}

impl State {
    /// Output for the master; what there is no room for is lost.
    fn show(&mut self, bytes: &[u8]) {
        let room = OUTPUT_MAX.saturating_sub(self.output.len());
        self.output.extend(bytes.iter().take(room));
    }
}

impl Ptys {
    /// None yet.
    pub(crate) fn new(console: Arc<Tty>) -> Arc<Self> {
        Arc::new(Self { rows: SpinLock::default(), console })
    }

    /// The pseudo terminal of this number, while it has its master.
    pub(crate) fn get(&self, index: u32) -> Option<Arc<Pty>> {
        let pty = self.rows.lock().get(index as usize)?.upgrade()?;
        Some(pty).filter(|pty| !pty.hung_up.load(Ordering::Relaxed))
    }

    /// Numbers from `from` on of those that have their master.
    pub(crate) fn numbers(&self, from: u32) -> impl Iterator<Item = u32> {
        (from..PTYS_MAX).filter(|index| self.get(*index).is_some())
    }

    fn all(&self) -> Vec<Arc<Pty>> {
        self.rows.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// A new one, of the least free number.
    fn add(self: &Arc<Self>) -> Result<Arc<Pty>, Errno> {
        let mut rows = self.rows.lock();
        let free = rows.iter().position(|row| row.strong_count() == 0);
        let at = free.unwrap_or(rows.len());
        let index = u32::try_from(at).ok().filter(|at| *at < PTYS_MAX).ok_or(Errno::ENOSPC)?;
        let pty = Pty::new(index, self);
        match rows.get_mut(at) {
            Some(row) => *row = Arc::downgrade(&pty),
            None => rows.push(Arc::downgrade(&pty)),
        }
        Ok(pty)
    }
}

/// /dev/ptmx.
impl Device for Arc<Ptys> {
    fn open(&self, _flags: OpenFlags) -> Result<FileRef, Errno> {
        let pty = self.add()?;
        Ok(Arc::new(PtyMaster { pty }))
    }
}

/// /dev/tty: the terminal that controls the session.
pub(crate) struct Controlling(pub(crate) Arc<Ptys>);

impl Device for Controlling {
    fn open(&self, flags: OpenFlags) -> Result<FileRef, Errno> {
        let Self(ptys) = self;
        if ptys.console.foreground() != 0 {
            return ptys.console.open(flags);
        }
        let controls = |pty: &Arc<Pty>| pty.tty.foreground() != 0;
        let pty = ptys.all().into_iter().find(controls).ok_or(Errno::ENXIO)?;
        pty.open_slave()
    }
}

impl Pty {
    fn new(index: u32, ptys: &Arc<Ptys>) -> Arc<Self> {
        Arc::new_cyclic(|own: &Weak<Self>| {
            let (shown, sent) = (own.clone(), own.clone());
            let hooks = TtyHooks {
                output: Box::new(move |bytes| {
                    if let Some(pty) = shown.upgrade() {
                        pty.state.lock().show(bytes);
                        pty.notifier.notify(READABLE);
                    }
                }),
                signal: Box::new(move |signal| {
                    if let Some(pty) = sent.upgrade() {
                        pty.send(signal);
                    }
                }),
            };
            Self {
                index,
                tty: Tty::detached(hooks, ptys.console.group),
                state: SpinLock::new(State { locked: true, ..State::default() }),
                notifier: Notifier::new(),
                ptys: Arc::clone(ptys),
                permissions: AtomicU32::new(0o620),
                owner: AtomicU32::new(0),
                hung_up: AtomicBool::new(false),
            }
        })
    }

    /// Its number.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// The permissions of its device file.
    pub(crate) fn permissions(&self) -> &AtomicU32 {
        &self.permissions
    }

    /// The owner of its device file.
    pub(crate) fn owner(&self) -> &AtomicU32 {
        &self.owner
    }

    /// The device number of the slave.
    pub(crate) fn number(&self) -> u64 {
        device_number(136, u64::from(self.index))
    }

    /// Sends a signal to the session that it controls, if it does.
    fn send(&self, signal: Signal) {
        if self.tty.foreground() != 0 {
            (self.ptys.console.hooks.signal)(signal);
        }
    }

    /// Another open file of the slave.
    ///
    /// # Errors
    /// `EIO`: it is locked, or has no master any more. `EBUSY`: it is not to be shared.
    pub(crate) fn open_slave(self: &Arc<Self>) -> Result<FileRef, Errno> {
        let mut state = self.state.lock();
        if state.locked || self.hung_up.load(Ordering::Relaxed) {
            return Err(Errno::EIO);
        }
        state.slaves += 1;
        state.slaves_gone = false;
        drop(state);
        Ok(Arc::new(PtySlave { pty: Arc::clone(self) }))
    }

    /// Notes something for packet mode, if that is on.
    fn note(&self, event: u8, not: u8) {
        {
            let mut state = self.state.lock();
            if !state.packets {
                return;
            }
            state.events = state.events & !not | event;
        }
        self.notifier.notify(READABLE | PollEvents::PRI);
    }

    /// The master is closed: the terminal has hung up.
    fn hang_up(&self) {
        self.hung_up.store(true, Ordering::Relaxed);
        if self.tty.foreground() != 0 {
            self.tty.leave();
        }
        self.tty.notifier.notify(READABLE | WRITABLE | PollEvents::HUP | PollEvents::ERR);
    }

    /// TIOCSCTTY: a session has one terminal.
    fn control(&self) -> Result<(), Errno> {
        if self.tty.foreground() != 0 {
            return Ok(());
        }
        let is_taken = |tty: &Tty| tty.foreground() != 0;
        let ptys = self.ptys.all();
        if is_taken(&self.ptys.console) || ptys.iter().any(|pty| is_taken(&pty.tty)) {
            return Err(Errno::EPERM);
        }
        self.tty.state.lock().foreground = self.tty.group;
        Ok(())
    }

    /// ioctl(2) on either end.
    fn ioctl(&self, number: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        let before = self.tty.state.lock().settings;
        let result = self.tty.control(number, argument);
        let after = self.tty.state.lock().settings;
        if before.stops() != after.stops() {
            let [event, not] = if after.stops() {
                [packet::DO_STOP, packet::NO_STOP]
            } else {
                [packet::NO_STOP, packet::DO_STOP]
            };
            self.note(event, not);
        }
        result
    }
}

/// The master: what is written to it is typed, what it reads was shown.
pub struct PtyMaster {
    pty: Arc<Pty>,
}

impl PtyMaster {
    /// The pseudo terminal.
    pub(crate) fn pty(&self) -> &Arc<Pty> {
        &self.pty
    }

    /// Says who opened it.
    pub(crate) fn set_owner(&self, user: u32) {
        self.pty.owner.store(user, Ordering::Relaxed);
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
        metadata.special_device = MASTER;
        Ok(metadata)
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if sink.room() == 0 {
            return Ok(0);
        }
        let count = fill(sink, |sink, more| self.give(sink, !more))?;
        self.pty.tty.notifier.notify(WRITABLE);
        Ok(count)
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        let mut bounce = [0; 256];
        let mut done = 0;
        while source.remaining() > 0 {
            let room = self.pty.tty.input_room().min(bounce.len());
            if room == 0 {
                return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN) };
            }
            match source.take(bounce.get_mut(..room).unwrap_or_default()) {
                Ok(0) => break,
                Ok(count) => {
                    self.pty.tty.input(bounce.get(..count).unwrap_or_default());
                    done += count;
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn poll(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        if self.pty.tty.input_room() > 0 {
            events |= WRITABLE;
        }
        let state = self.pty.state.lock();
        if !state.output.is_empty() {
            events |= READABLE;
        }
        if state.packets && state.events != 0 {
            events |= READABLE | PollEvents::PRI;
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

/// The slave: a terminal as any, until its master is closed.
pub struct PtySlave {
    pty: Arc<Pty>,
}

impl PtySlave {
    /// The terminal that it is.
    pub(super) fn tty(&self) -> &Tty {
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
        self.pty.notifier.notify(READABLE | WRITABLE | PollEvents::HUP);
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
            self.pty.notifier.notify(WRITABLE);
        }
        result
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        let mut done = 0;
        let mut bounce = [0; 512];
        while source.remaining() > 0 {
            let room = self.room().min(bounce.len());
            let taken = match bounce.get_mut(..room) {
                _ if self.is_hung_up() => Err(Errno::EIO),
                Some([]) | None => Err(Errno::EAGAIN),
                Some(bounce) => source.take(bounce),
            };
            match taken {
                Ok(0) => break,
                Ok(count) => {
                    self.pty.tty.emit(bounce.get(..count).unwrap_or_default());
                    done += count;
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn poll(&self) -> PollEvents {
        if self.is_hung_up() {
            return READABLE | WRITABLE | PollEvents::HUP | PollEvents::ERR;
        }
        let events = self.pty.tty.poll();
        if self.room() == 0 { events - WRITABLE } else { events }
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
