//! Pseudo terminals (pty(7), drivers/tty/pty.c): a terminal, and in the place of screen and keyboard a
//! file, its master.

mod master;
mod slave;

pub use master::PtyMaster;
pub use slave::PtySlave;

use super::{Tty, TtyHooks};
use crate::access::Who;
use crate::device::{Device, device_number};
use crate::file::{FileRef, IoctlArgument};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::sync::SpinLock;
use base::{Errno, Signal};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use sched::{Notifier, PollEvents};

/// Bytes of output kept for the master: what Linux keeps of them, in all.
const OUTPUT_MAX: usize = 8192 + 4096;
/// The group that device files of terminals belong to: "tty" on most systems (`gid` in mount options of devpts).
const TTY_GROUP: u32 = 5;
/// Most pseudo terminals (/proc/sys/kernel/pty/max).
pub(crate) const PTYS_MAX: u32 = 256;

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
    /// Who owns that: who opened the master, and the group of terminals.
    owner: AtomicU32,
    group: AtomicU32,
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

    /// A new one, of the least free number, for this user.
    fn add(self: &Arc<Self>, owner: u32) -> Result<Arc<Pty>, Errno> {
        let mut rows = self.rows.lock();
        let free = rows.iter().position(|row| row.strong_count() == 0);
        let at = free.unwrap_or(rows.len());
        let index = u32::try_from(at).ok().filter(|at| *at < PTYS_MAX).ok_or(Errno::ENOSPC)?;
        let pty = Pty::new(index, owner, self);
        match rows.get_mut(at) {
            Some(row) => *row = Arc::downgrade(&pty),
            None => rows.push(Arc::downgrade(&pty)),
        }
        Ok(pty)
    }
}

/// /dev/ptmx.
impl Device for Arc<Ptys> {
    fn open(&self, who: &Who) -> Result<FileRef, Errno> {
        Ok(Arc::new(PtyMaster { pty: self.add(who.user)? }))
    }
}

/// /dev/tty: the terminal that controls the session.
pub(crate) struct Controlling(pub(crate) Arc<Ptys>);

impl Device for Controlling {
    fn open(&self, who: &Who) -> Result<FileRef, Errno> {
        let Self(ptys) = self;
        if ptys.console.foreground() != 0 {
            return ptys.console.open(who);
        }
        let controls = |pty: &Arc<Pty>| pty.tty.foreground() != 0;
        let pty = ptys.all().into_iter().find(controls).ok_or(Errno::ENXIO)?;
        pty.open_slave()
    }
}

impl Pty {
    fn new(index: u32, owner: u32, ptys: &Arc<Ptys>) -> Arc<Self> {
        Arc::new_cyclic(|own: &Weak<Self>| {
            let (shown, sent) = (own.clone(), own.clone());
            let hooks = TtyHooks {
                output: Box::new(move |bytes| {
                    if let Some(pty) = shown.upgrade() {
                        pty.state.lock().show(bytes);
                        pty.notifier.notify(PollEvents::READABLE);
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
                owner: AtomicU32::new(owner),
                group: AtomicU32::new(TTY_GROUP),
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

    /// The group of its device file.
    pub(crate) fn group(&self) -> &AtomicU32 {
        &self.group
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
        self.notifier.notify(PollEvents::READABLE | PollEvents::PRI);
    }

    /// The master is closed: the terminal has hung up.
    fn hang_up(&self) {
        self.hung_up.store(true, Ordering::Relaxed);
        if self.tty.foreground() != 0 {
            self.tty.leave();
        }
        self.tty.notifier.notify(
            PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::HUP | PollEvents::ERR,
        );
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
