//! Processes and threads as descriptors (pidfd_open(2)). There is one process, and it never waits for
//! itself: its descriptor becomes ready only with its end.

use crate::call::{Call, Outcome};
use crate::pipe;
use crate::process::{PROCESS_ID, Process};
use crate::signal::{Origin, SignalInfo, code};
use crate::signals;
use crate::table::{Row, full, partial};
use crate::thread::Thread;
use crate::trace::Argument::{Fd, Flags, Hex, Int, Signal as Sig};
use abi::number as nr;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use base::io::{Sink, Source};
use base::{Errno, Tid};
use core::any::Any;
use sched::{Notifier, PollEvents};
use vfs::metadata::{FileType, Metadata};
use vfs::pseudo::PseudoInode;
use vfs::{File, OpenFile, OpenFlags};

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(
        nr::PIDFD_OPEN,
        "pidfd_open",
        &[Int, Flags(&[(0o4_000, "PIDFD_NONBLOCK"), (0o200, "PIDFD_THREAD")])],
        |call| pidfd_open(call).into(),
    ),
    full(nr::PIDFD_SEND_SIGNAL, "pidfd_send_signal", &[Fd, Sig, Hex, Hex], |call| {
        pidfd_send_signal(call).into()
    }),
    full(nr::PIDFD_GETFD, "pidfd_getfd", &[Fd, Int, Hex], |call| pidfd_getfd(call).into()),
    partial(nr::WAIT4, "wait4", &[Int, Hex, Hex, Hex], "there are no children: ECHILD", |call| {
        wait4(call).into()
    }),
    partial(nr::WAITID, "waitid", &[Int, Int, Hex, Hex], "there are no children: ECHILD", |call| {
        waitid(call).into()
    }),
];

/// `PIDFD_THREAD`: of one thread, not of its process.
const THREAD: u32 = OpenFlags::EXCL.bits();

/// A descriptor of the process, or of one of its threads.
struct PidFile {
    number: u64,
    process: Weak<Process>,
    thread: Option<Tid>,
    ended: Arc<Notifier>,
}

/// To whom a signal goes.
enum Target {
    Process(Arc<Process>),
    Thread(Arc<Thread>),
}

impl PidFile {
    /// The one that an open file is.
    ///
    /// # Errors
    /// `EBADF`: it is another kind of file.
    fn of(open: &OpenFile) -> Result<&Self, Errno> {
        open.usable()?.as_any().downcast_ref().ok_or(Errno::EBADF)
    }

    /// Whom it stands for.
    ///
    /// # Errors
    /// `ESRCH`: it is over.
    fn target(&self) -> Result<Target, Errno> {
        let process = self.process.upgrade().ok_or(Errno::ESRCH)?;
        match self.thread {
            None => Ok(Target::Process(process)),
            Some(tid) => process.thread(tid).map(Target::Thread).ok_or(Errno::ESRCH),
        }
    }
}

impl File for PidFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(FileType::Regular, 0o700, self.number))
    }

    fn read(&self, _offset: u64, _sink: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn write(&self, _offset: u64, _source: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn poll(&self) -> PollEvents {
        match self.target() {
            Ok(_) => PollEvents::empty(),
            // Nobody waits for a thread: it is gone at once.
            Err(_) => PollEvents::READABLE | PollEvents::HUP,
        }
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.ended)
    }

    fn details(&self) -> String {
        let id = match (self.target(), self.thread) {
            (Err(_), _) => -1,
            (Ok(_), None) => PROCESS_ID.0.cast_signed(),
            (Ok(_), Some(tid)) => tid.0.cast_signed(),
        };
        format!("Pid:\t{id}\nNSpid:\t{id}\n")
    }

    fn describe(&self) -> String {
        String::from("anon_inode:[pidfd]")
    }
}

fn pidfd_open(call: &Call<'_>) -> Result<usize, Errno> {
    let flags = call.unsigned(1);
    if flags & !(OpenFlags::NONBLOCK.bits() | THREAD) != 0 {
        return Err(Errno::EINVAL);
    }
    let id = u32::try_from(call.int(0)).ok().filter(|id| *id != 0).ok_or(Errno::EINVAL)?;
    let is_process = id == PROCESS_ID.0;
    if !is_process && call.process().thread(Tid(id)).is_none() {
        return Err(Errno::ESRCH);
    }
    let thread = (flags & THREAD != 0).then_some(Tid(id));
    if !is_process && thread.is_none() {
        return Err(Errno::ENOENT);
    }
    let file = Arc::new(PidFile {
        number: vfs::anonymous::next_number(),
        process: Arc::downgrade(call.process()),
        thread,
        ended: Arc::clone(&call.process().thread_ended),
    });
    let open_flags = OpenFlags::from_bits_truncate(flags) & OpenFlags::NONBLOCK;
    pipe::install(call, file, open_flags | OpenFlags::RDWR | OpenFlags::CLOEXEC)
}

/// Whom argument 0 stands for: also a directory /proc/PID.
fn target(call: &Call<'_>) -> Result<Target, Errno> {
    let open = call.open_file(0)?;
    let inode = open.inode().and_then(|inode| inode.as_any().downcast_ref::<PseudoInode>());
    match inode {
        None => PidFile::of(&open)?.target(),
        Some(inode) => match inode.directory_of() {
            Some(tid) if tid.0 == PROCESS_ID.0 => Ok(Target::Process(Arc::clone(call.process()))),
            _ => Err(Errno::EBADF),
        },
    }
}

fn pidfd_send_signal(call: &Call<'_>) -> Result<usize, Errno> {
    const TO_THREAD: u32 = 1;
    const TO_PROCESS: u32 = 2;
    const TO_GROUP: u32 = 4;
    let flags = call.unsigned(3);
    if !matches!(flags, 0 | TO_THREAD | TO_PROCESS | TO_GROUP) {
        return Err(Errno::EINVAL);
    }
    let target = match (target(call)?, flags) {
        (Target::Process(process), TO_THREAD) => {
            process.thread(Tid(PROCESS_ID.0)).map(Target::Thread).ok_or(Errno::ESRCH)?
        }
        (Target::Thread(thread), TO_PROCESS | TO_GROUP) => {
            Target::Process(Arc::clone(&thread.process))
        }
        (target, _) => target,
    };
    let at = call.address(2);
    let signal = signals::signal_or_probe(call, 1)?;
    let info = match signal {
        Some(signal) if !at.is_null() => {
            let number: u32 = call.memory().read(at)?;
            if number != u32::from(signal.0) {
                return Err(Errno::EINVAL);
            }
            Some(signals::read_info(call, signal, at)?)
        }
        signal => signal.map(|signal| {
            let is_thread = matches!(target, Target::Thread(_));
            let code = if is_thread { code::SI_TKILL } else { code::SI_USER };
            SignalInfo { signal, code, origin: Origin::Process(PROCESS_ID) }
        }),
    };
    if let Some(info) = info {
        match target {
            Target::Process(process) => process.send_signal(info)?,
            Target::Thread(thread) => thread.send_signal(info)?,
        }
    }
    Ok(0)
}

fn pidfd_getfd(call: &Call<'_>) -> Result<usize, Errno> {
    if call.unsigned(2) != 0 {
        return Err(Errno::EINVAL);
    }
    let open = call.open_file(0)?;
    PidFile::of(&open)?.target()?;
    let wanted = call.open_file(1)?;
    let fd = call.process().files.insert(wanted, true)?;
    Ok(usize::try_from(fd.0).unwrap_or_default())
}

fn wait4(call: &Call<'_>) -> Result<usize, Errno> {
    /// WNOHANG, WUNTRACED, WCONTINUED, __WNOTHREAD, __WCLONE, __WALL.
    const OPTIONS: u32 = 1 | 2 | 8 | 7 << 29;
    match (call.unsigned(2) & !OPTIONS, call.int(0)) {
        (0, i32::MIN) => Err(Errno::ESRCH),
        (0, _) => Err(Errno::ECHILD),
        _ => Err(Errno::EINVAL),
    }
}

fn waitid(call: &Call<'_>) -> Result<usize, Errno> {
    const ANY: i32 = 0;
    const PROCESS: i32 = 1;
    const GROUP: i32 = 2;
    const DESCRIPTOR: i32 = 3;
    /// WSTOPPED, WEXITED, WCONTINUED.
    const EVENTS: u32 = 2 | 4 | 8;
    /// Those, WNOHANG, WNOWAIT, and as in [`wait4`].
    const OPTIONS: u32 = EVENTS | 1 | 0x0100_0000 | 7 << 29;
    let options = call.unsigned(3);
    if options & !OPTIONS != 0 || options & EVENTS == 0 {
        return Err(Errno::EINVAL);
    }
    let id = call.int(1);
    match call.int(0) {
        ANY => {}
        PROCESS if id > 0 => {}
        GROUP | DESCRIPTOR if id >= 0 => {}
        _ => return Err(Errno::EINVAL),
    }
    if call.int(0) == DESCRIPTOR {
        PidFile::of(&*call.open_file(1)?)?;
    }
    Err(Errno::ECHILD)
}

/// process_madvise(2): on itself, with every advice (Linux 6.13).
pub(crate) fn process_madvise(call: &mut Call<'_>) -> Outcome {
    advise(call).into()
}

fn advise(call: &Call<'_>) -> Result<usize, Errno> {
    if call.unsigned(4) != 0 {
        return Err(Errno::EINVAL);
    }
    let pieces = call.memory().read_pieces(call.address(1), call.size(2))?;
    PidFile::of(&*call.open_file(0)?)?.target()?;
    let advice = mm::Advice::decode(call.int(3))?;
    let mut done = 0;
    for piece in pieces {
        match call.memory().advise(piece.address, piece.bytes as u64, advice) {
            Ok(()) => done += piece.bytes,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}
