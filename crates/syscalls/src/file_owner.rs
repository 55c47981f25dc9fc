//! Whom an open file tells by signals that it is ready: `O_ASYNC`, F_SETOWN, F_SETSIG (fcntl(2)).

use crate::call::Call;
use crate::process::{PROCESS_ID, Process};
use crate::signal::{Origin, SIGIO, SIGURG, SignalInfo};
use alloc::sync::{Arc, Weak};
use base::sync::SpinLock;
use base::{Errno, Signal, Tid};
use core::any::Any;
use sched::{Observer, PollEvents, Registration, weak};
use vfs::{File, OpenFile, OpenFlags};

/// `F_OWNER_*`: what kind of number the owner's is.
mod kind {
    pub(super) const THREAD: u32 = 0;
    pub(super) const PROCESS: u32 = 1;
    pub(super) const GROUP: u32 = 2;
}

/// What fcntl set.
#[derive(Clone, Copy, Default)]
struct Settings {
    /// One of [`kind`].
    kind: u32,
    /// 0: nobody.
    id: u32,
    /// F_SETSIG; 0: SIGIO, without more to say.
    signal: u8,
    /// The descriptor through which `O_ASYNC` was set: `si_fd`.
    fd: i32,
    asynchronous: bool,
}

/// Who is told of one open file. It observes the file while `O_ASYNC` is set.
pub(crate) struct Owner {
    own: Weak<Self>,
    process: Weak<Process>,
    /// Weakly: who tells the owner last may hold locks that the end of a file takes.
    file: Weak<dyn File>,
    settings: SpinLock<Settings>,
    registration: SpinLock<Option<Registration>>,
}

impl Owner {
    fn of(call: &Call<'_>, open: &OpenFile) -> Option<Arc<Self>> {
        let make = || -> Arc<dyn Any + Send + Sync> {
            Arc::new_cyclic(|own| Self {
                own: own.clone(),
                process: Arc::downgrade(call.process()),
                file: Arc::downgrade(open.file()),
                settings: SpinLock::default(),
                registration: SpinLock::default(),
            })
        };
        Arc::downcast(Arc::clone(open.owner(Some(&make))?)).ok()
    }

    fn if_any(open: &OpenFile) -> Option<Arc<Self>> {
        Arc::downcast(Arc::clone(open.owner(None)?)).ok()
    }

    fn attach(&self, on: bool) {
        // Without the file, there is nobody to tell.
        let Some(file) = self.file.upgrade() else { return };
        let Some(notifier) = file.notifier() else { return };
        let new = self.own.upgrade().filter(|_| on).map(|own| notifier.attach(weak(&own)));
        let old = core::mem::replace(&mut *self.registration.lock(), new);
        if let Some(old) = old {
            notifier.detach(&old);
        }
    }

    /// Sends the owner `info`.
    fn send(&self, settings: Settings, info: SignalInfo) {
        let Some(process) = self.process.upgrade() else { return };
        // Nobody can be told that it did not arrive.
        let _ = match settings.kind {
            kind::THREAD => process.thread(Tid(settings.id)).map(|thread| thread.send_signal(info)),
            _ if settings.id == PROCESS_ID.0 => Some(process.send_signal(info)),
            _ => None,
        };
    }

    /// SIGURG: urgent bytes came.
    fn urgent(&self) {
        let settings = *self.settings.lock();
        if settings.id != 0 {
            self.send(settings, SignalInfo::from_kernel(SIGURG));
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.attach(false);
    }
}

impl Observer for Owner {
    fn notify(&self, events: PollEvents) -> bool {
        let settings = *self.settings.lock();
        if events.contains(PollEvents::PRI) {
            self.urgent();
        }
        let is_more = !(events - PollEvents::PRI).is_empty();
        if settings.asynchronous && settings.id != 0 && is_more {
            self.send(settings, information(settings, events));
        }
        false
    }
}

/// The signal that says `events`, as `send_sigio_to_task` of Linux fills it in.
fn information(settings: Settings, events: PollEvents) -> SignalInfo {
    const POLL_IN: i32 = 1;
    const POLL_OUT: i32 = 2;
    const SI_SIGIO: i32 = -5;
    if settings.signal == 0 {
        return SignalInfo::from_kernel(SIGIO);
    }
    let only_out = !events.intersects(PollEvents::IN | PollEvents::HUP | PollEvents::ERR);
    let (reason, band) =
        if only_out { (POLL_OUT, PollEvents::WRITABLE) } else { (POLL_IN, PollEvents::READABLE) };
    let signal = Signal(settings.signal);
    // Signals whose own codes would be mistaken for the reason.
    let has_codes = matches!(settings.signal, 4 | 5 | 7 | 8 | 11 | 17 | 31);
    let mut rest = [0; 112];
    rest[..4].copy_from_slice(&band.bits().to_le_bytes());
    // WRBAND goes with WRNORM.
    if only_out {
        rest[1] |= 2;
    }
    rest[8..12].copy_from_slice(&settings.fd.to_le_bytes());
    SignalInfo {
        signal,
        code: if has_codes { SI_SIGIO } else { reason },
        origin: Origin::Raw(rest),
    }
}

/// F_SETFL and FIOASYNC: sets `O_ASYNC` where the file can send signals.
pub(crate) fn set_async(call: &Call<'_>, open: &OpenFile, on: bool) {
    if !open.file().sends_signals() || on == open.flags().contains(OpenFlags::ASYNC) {
        return;
    }
    let Some(owner) = Owner::of(call, open) else { return };
    {
        let mut settings = owner.settings.lock();
        (settings.asynchronous, settings.fd) = (on, call.int(0));
        // A terminal has an owner from then on (tty_fasync).
        if on && settings.id == 0 && vfs::tty::of(open.file()).is_some() {
            (settings.kind, settings.id) = (kind::GROUP, PROCESS_ID.0);
        }
    }
    open.set_async(on);
    owner.attach(on || is_socket(open));
}

/// A socket tells its owner of urgent data whether `O_ASYNC` is set or not.
fn is_socket(open: &OpenFile) -> bool {
    crate::socket_file::SocketFile::of(open).is_ok()
}

/// True when there is a process, group or thread of this number.
fn exists(call: &Call<'_>, id: u32) -> bool {
    id == PROCESS_ID.0 || call.process().thread(Tid(id)).is_some()
}

fn set(call: &Call<'_>, open: &OpenFile, kind: u32, id: u32) -> Result<usize, Errno> {
    if id != 0 && !exists(call, id) {
        return Err(Errno::ESRCH);
    }
    if let Some(owner) = Owner::of(call, open) {
        let asynchronous = {
            let mut settings = owner.settings.lock();
            (settings.kind, settings.id) = if id == 0 { (kind::THREAD, 0) } else { (kind, id) };
            settings.asynchronous
        };
        owner.attach(asynchronous || id != 0 && is_socket(open));
    }
    Ok(0)
}

/// F_SETOWN: a process, or a group as a negative number.
pub(crate) fn set_owner(call: &Call<'_>, open: &OpenFile, who: i32) -> Result<usize, Errno> {
    match who {
        i32::MIN => Err(Errno::EINVAL),
        who if who < 0 => set(call, open, kind::GROUP, who.unsigned_abs()),
        who => set(call, open, kind::PROCESS, who.unsigned_abs()),
    }
}

fn settings(open: &OpenFile) -> Settings {
    Owner::if_any(open).map(|owner| *owner.settings.lock()).unwrap_or_default()
}

/// F_GETOWN.
pub(crate) fn owner(open: &OpenFile) -> i32 {
    let settings = settings(open);
    let id = settings.id.cast_signed();
    if settings.kind == kind::GROUP { -id } else { id }
}

/// F_SETOWN_EX.
pub(crate) fn set_owner_of_kind(call: &Call<'_>, open: &OpenFile) -> Result<usize, Errno> {
    let [kind, id]: [u32; 2] = call.memory().read(call.address(2))?;
    match kind {
        kind::THREAD | kind::PROCESS | kind::GROUP => set(call, open, kind, id),
        _ => Err(Errno::EINVAL),
    }
}

/// F_GETOWN_EX.
pub(crate) fn owner_and_kind(open: &OpenFile) -> [u32; 2] {
    let settings = settings(open);
    [settings.kind, settings.id]
}

/// F_SETSIG.
pub(crate) fn set_signal(call: &Call<'_>, open: &OpenFile) -> Result<usize, Errno> {
    const SIGNALS: u64 = 64;
    let signal = u8::try_from(call.long(2)).ok().filter(|signal| u64::from(*signal) <= SIGNALS);
    let signal = signal.ok_or(Errno::EINVAL)?;
    if let Some(owner) = Owner::of(call, open) {
        owner.settings.lock().signal = signal;
    }
    Ok(0)
}

/// F_GETSIG.
pub(crate) fn signal(open: &OpenFile) -> usize {
    usize::from(settings(open).signal)
}

/// What ioctl(2) has of the same: on sockets and terminals the owner, on all `O_ASYNC`.
pub(crate) fn ioctl(call: &Call<'_>, open: &OpenFile, number: u32) -> Option<Result<usize, Errno>> {
    const FIOASYNC: u32 = 0x5452;
    const FIOSETOWN: u32 = 0x8901;
    const SIOCSPGRP: u32 = 0x8902;
    const FIOGETOWN: u32 = 0x8903;
    const SIOCGPGRP: u32 = 0x8904;
    let is_socket = is_socket(open);
    let read = || call.memory().read::<i32>(call.address(2));
    Some(match number {
        FIOASYNC => read().and_then(|on| {
            let changes = (on != 0) != open.flags().contains(OpenFlags::ASYNC);
            if changes && !open.file().sends_signals() {
                return Err(Errno::ENOTTY);
            }
            set_async(call, open, on != 0);
            Ok(0)
        }),
        FIOSETOWN | SIOCSPGRP if is_socket => read().and_then(|who| set_owner(call, open, who)),
        FIOGETOWN | SIOCGPGRP if is_socket => {
            call.memory().write(call.address(2), &owner(open)).map(|()| 0)
        }
        _ => return None,
    })
}
