//! Control of open files: fcntl, flock, ioctl, and making data durable.

use crate::call::{Call, Outcome, Restart};
use crate::file_io::outcome;
use crate::file_owner;
use crate::table::{Row, full, partial};
use crate::trace::Argument::{Fd, Flags, Hex, Int, Name, Size};
use abi::file::Flock;
use abi::number as nr;
use alloc::sync::Arc;
use base::{Errno, UserAddr};
use mm::Mm;
use vfs::locks::{LockOwner, RecordLock};
use vfs::memory::{MemoryInode, Seals};
use vfs::pipe::{PIPE_BYTES_MAX, PipeEnd};
use vfs::tty::PtyMaster;
use vfs::{FileRef, FileType, IoctlArgument, OpenFile, OpenFlags, Whence};

const COMMANDS: &[(u64, &str)] = &[
    (0, "F_DUPFD"),
    (1, "F_GETFD"),
    (2, "F_SETFD"),
    (3, "F_GETFL"),
    (4, "F_SETFL"),
    (5, "F_GETLK"),
    (6, "F_SETLK"),
    (7, "F_SETLKW"),
    (8, "F_SETOWN"),
    (9, "F_GETOWN"),
    (10, "F_SETSIG"),
    (11, "F_GETSIG"),
    (15, "F_SETOWN_EX"),
    (16, "F_GETOWN_EX"),
    (36, "F_OFD_GETLK"),
    (37, "F_OFD_SETLK"),
    (38, "F_OFD_SETLKW"),
    (1024, "F_SETLEASE"),
    (1025, "F_GETLEASE"),
    (1027, "F_DUPFD_QUERY"),
    (1030, "F_DUPFD_CLOEXEC"),
    (1031, "F_SETPIPE_SZ"),
    (1032, "F_GETPIPE_SZ"),
    (1033, "F_ADD_SEALS"),
    (1034, "F_GET_SEALS"),
];

const FLOCK: &[(u64, &str)] = &[(1, "LOCK_SH"), (2, "LOCK_EX"), (4, "LOCK_NB"), (8, "LOCK_UN")];

/// The calls of this family.
pub const ROWS: &[Row] = &[
    partial(
        nr::FCNTL,
        "fcntl",
        &[Fd, Name(COMMANDS), Hex],
        "F_SETLEASE, F_NOTIFY: EINVAL; no deadlock detection in F_SETLKW",
        |call| outcome(call, fcntl),
    ),
    full(nr::FLOCK, "flock", &[Fd, Flags(FLOCK)], |call| outcome(call, flock)),
    full(nr::IOCTL, "ioctl", &[Fd, Hex, Hex], |call| ioctl(call).into()),
    full(nr::FSYNC, "fsync", &[Fd], |call| fsync(call).into()),
    full(nr::FDATASYNC, "fdatasync", &[Fd], |call| fsync(call).into()),
    full(nr::SYNC, "sync", &[], |_| Ok(0).into()),
    full(nr::SYNCFS, "syncfs", &[Fd], |call| {
        call.open_file(0).and_then(|open| open.usable().map(|_| 0)).into()
    }),
    full(nr::SYNC_FILE_RANGE, "sync_file_range", &[Fd, Int, Int, Hex], |call| {
        sync_file_range(call).into()
    }),
    partial(
        nr::FADVISE64,
        "fadvise64",
        &[Fd, Int, Int, Int],
        "checked; files are in memory already",
        |call| fadvise64(call).into(),
    ),
    partial(nr::READAHEAD, "readahead", &[Fd, Int, Size], "checked, as fadvise64", |call| {
        readahead(call).into()
    }),
];

/// Commands of fcntl(2).
mod command {
    pub(super) const DUPFD: i32 = 0;
    pub(super) const GETFD: i32 = 1;
    pub(super) const SETFD: i32 = 2;
    pub(super) const GETFL: i32 = 3;
    pub(super) const SETFL: i32 = 4;
    pub(super) const GETLK: i32 = 5;
    pub(super) const SETLK: i32 = 6;
    pub(super) const SETLKW: i32 = 7;
    pub(super) const SETOWN: i32 = 8;
    pub(super) const GETOWN: i32 = 9;
    pub(super) const SETSIG: i32 = 10;
    pub(super) const GETSIG: i32 = 11;
    pub(super) const SETOWN_EX: i32 = 15;
    pub(super) const GETOWN_EX: i32 = 16;
    pub(super) const OFD_GETLK: i32 = 36;
    pub(super) const OFD_SETLK: i32 = 37;
    pub(super) const OFD_SETLKW: i32 = 38;
    pub(super) const GETLEASE: i32 = 1025;
    pub(super) const DUPFD_QUERY: i32 = 1027;
    pub(super) const DUPFD_CLOEXEC: i32 = 1030;
    pub(super) const SETPIPE_SZ: i32 = 1031;
    pub(super) const GETPIPE_SZ: i32 = 1032;
    pub(super) const ADD_SEALS: i32 = 1033;
    pub(super) const GET_SEALS: i32 = 1034;
}

const FD_CLOEXEC: u32 = 1;

fn fcntl(call: &Call<'_>) -> Result<Outcome, Errno> {
    let files = &call.process().files;
    let (fd, number) = (call.fd(0), call.int(1));
    let open = files.get(fd)?;
    // Descriptors made with O_PATH know only what concerns the descriptor.
    let with_path =
        [command::DUPFD, command::DUPFD_CLOEXEC, command::GETFD, command::SETFD, command::GETFL];
    if !with_path.contains(&number) {
        open.usable()?;
    }
    let value = match number {
        command::DUPFD | command::DUPFD_CLOEXEC => {
            let minimum = usize::try_from(call.int(2)).map_err(|_| Errno::EINVAL)?;
            let close_on_exec = number == command::DUPFD_CLOEXEC;
            let new = files.insert_from(minimum, open, close_on_exec)?;
            usize::try_from(new.0).unwrap_or_default()
        }
        command::GETFD => usize::from(files.close_on_exec(fd)?),
        command::SETFD => {
            files.set_close_on_exec(fd, call.unsigned(2) & FD_CLOEXEC != 0)?;
            0
        }
        command::GETFL => open.flags().bits() as usize,
        command::SETFL => {
            let flags = OpenFlags::from_bits_truncate(call.unsigned(2));
            file_owner::set_async(call, &open, flags.contains(OpenFlags::ASYNC));
            open.set_flags(flags);
            0
        }
        command::GETLK | command::OFD_GETLK => get_lock(call, &open, number)?,
        command::SETLK | command::SETLKW | command::OFD_SETLK | command::OFD_SETLKW => {
            return set_lock(call, open, number);
        }
        command::SETOWN => file_owner::set_owner(call, &open, call.int(2))?,
        command::GETOWN => return Ok(negative(file_owner::owner(&open))),
        command::SETSIG => file_owner::set_signal(call, &open)?,
        command::GETSIG => file_owner::signal(&open),
        command::SETOWN_EX => file_owner::set_owner_of_kind(call, &open)?,
        command::GETOWN_EX => {
            call.memory().write(call.address(2), &file_owner::owner_and_kind(&open))?;
            0
        }
        command::GETLEASE => F_UNLCK.unsigned_abs().into(),
        command::DUPFD_QUERY => {
            let other = files.get(call.fd(2))?;
            usize::from(Arc::ptr_eq(&open, &other))
        }
        command::SETPIPE_SZ => {
            let bytes = call.unsigned(2) as usize;
            if bytes > PIPE_BYTES_MAX {
                return Err(Errno::EPERM);
            }
            pipe(&open)?.pipe().set_capacity(bytes)?
        }
        command::GETPIPE_SZ => pipe(&open)?.pipe().capacity(),
        command::ADD_SEALS => {
            open.writable().map_err(|_| Errno::EPERM)?;
            add_seals(call, &open)?;
            0
        }
        command::GET_SEALS => seals(&open)?.get() as usize,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Ok(value).into())
}

/// A result that may be a negative number: a group. As the manual warns, small ones look like errors.
fn negative(value: i32) -> Outcome {
    Ok(i64::from(value).cast_unsigned() as usize).into()
}

fn pipe(open: &OpenFile) -> Result<&PipeEnd, Errno> {
    open.file().as_any().downcast_ref().ok_or(Errno::EBADF)
}

fn seals(open: &OpenFile) -> Result<&Seals, Errno> {
    let inode = open.file().as_any().downcast_ref::<MemoryInode>();
    inode.and_then(MemoryInode::seals).ok_or(Errno::EINVAL)
}

fn add_seals(call: &Call<'_>, open: &OpenFile) -> Result<(), Errno> {
    let (seals, new) = (seals(open)?, call.unsigned(2));
    let may_seal = seals.get() & Seals::SEAL == 0;
    if may_seal && new & Seals::WRITE != 0 {
        let metadata = open.metadata()?;
        if call.memory().shares_for_writing(crate::mapped_file::identity(&metadata)) {
            return Err(Errno::EBUSY);
        }
    }
    seals.add(new)
}

/// True when no new mapping may be written through.
pub(crate) fn writes_are_sealed(open: &OpenFile) -> bool {
    seals(open).is_ok_and(|seals| seals.get() & (Seals::WRITE | Seals::FUTURE_WRITE) != 0)
}

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;

/// Decodes the range of a `struct flock`.
fn range(open: &OpenFile, lock: &Flock) -> Result<(u64, u64), Errno> {
    let base = match Whence::decode(u32::try_from(lock.whence).map_err(|_| Errno::EINVAL)?) {
        Some(Whence::Set) => 0,
        Some(Whence::Current) => open.with_offset(|offset| *offset).cast_signed(),
        Some(Whence::End) => open.metadata()?.bytes.cast_signed(),
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(lock.start).ok_or(Errno::EOVERFLOW)?;
    let (first, last) = match lock.length {
        0 => (start, i64::MAX),
        length if length > 0 => (start, start.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?),
        length => (start.checked_add(length).ok_or(Errno::EINVAL)?, start - 1),
    };
    let first = u64::try_from(first).map_err(|_| Errno::EINVAL)?;
    let last = if last == i64::MAX { u64::MAX } else { last.cast_unsigned() };
    Ok((first, last))
}

/// The lock that a call wants, and the structure it gave. `None`: to unlock.
fn wanted(
    call: &Call<'_>,
    open: &OpenFile,
    number: i32,
) -> Result<(Flock, u64, u64, LockOwner), Errno> {
    let lock: Flock = call.memory().read(call.address(2))?;
    let (start, end) = range(open, &lock)?;
    let of_description =
        matches!(number, command::OFD_GETLK | command::OFD_SETLK | command::OFD_SETLKW);
    if of_description && lock.process != 0 {
        return Err(Errno::EINVAL);
    }
    let owner = if of_description { open.lock_owner() } else { LockOwner::Process };
    Ok((lock, start, end, owner))
}

fn get_lock(call: &Call<'_>, open: &Arc<OpenFile>, number: i32) -> Result<usize, Errno> {
    let (mut lock, start, end, owner) = wanted(call, open, number)?;
    let exclusive = match lock.kind {
        F_RDLCK => false,
        F_WRLCK => true,
        _ => return Err(Errno::EINVAL),
    };
    match open.locks()?.conflict(&RecordLock { start, end, exclusive, owner }) {
        None => lock.kind = F_UNLCK,
        Some(held) => {
            lock.kind = if held.exclusive { F_WRLCK } else { F_RDLCK };
            lock.whence = 0;
            lock.start = held.start.cast_signed();
            let is_open_ended = held.end == u64::MAX;
            lock.length = if is_open_ended { 0 } else { (held.end - held.start + 1).cast_signed() };
            lock.process = match held.owner {
                LockOwner::Process => crate::process::PROCESS_ID.0.cast_signed(),
                LockOwner::Description(_) => -1,
            };
        }
    }
    call.memory().write(call.address(2), &lock)?;
    Ok(0)
}

fn set_lock(call: &Call<'_>, open: Arc<OpenFile>, number: i32) -> Result<Outcome, Errno> {
    let (lock, start, end, owner) = wanted(call, &open, number)?;
    let exclusive = match lock.kind {
        F_RDLCK => {
            open.readable()?;
            false
        }
        F_WRLCK => {
            open.writable()?;
            true
        }
        F_UNLCK => {
            open.locks()?.unlock_record(owner, start, end);
            return Ok(Ok(0).into());
        }
        _ => return Err(Errno::EINVAL),
    };
    let record = RecordLock { start, end, exclusive, owner };
    let first = open.locks()?.lock_record(record);
    let waits = matches!(number, command::SETLKW | command::OFD_SETLKW);
    if !waits || first != Err(Errno::EAGAIN) {
        return Ok(first.map(|()| 0).into());
    }
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move {
        let locks = Arc::clone(open.locks()?);
        let attempt = || locks.lock_record(record);
        thread.retry(locks.notifier(), None, Restart::Automatic, attempt).await?;
        Ok(0)
    }))
}

fn flock(call: &Call<'_>) -> Result<Outcome, Errno> {
    const SHARED: u32 = 1;
    const EXCLUSIVE: u32 = 2;
    const NOT_BLOCKING: u32 = 4;
    const UNLOCK: u32 = 8;
    let operation = call.unsigned(1);
    let exclusive = match operation & !NOT_BLOCKING {
        SHARED => Some(false),
        EXCLUSIVE => Some(true),
        UNLOCK => None,
        _ => return Err(Errno::EINVAL),
    };
    let open = call.open_file(0)?;
    open.usable()?;
    let first = open.flock(exclusive);
    if operation & NOT_BLOCKING != 0 || first != Err(Errno::EAGAIN) {
        return Ok(first.map(|()| 0).into());
    }
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move {
        let locks = Arc::clone(open.locks()?);
        let attempt = || open.flock(exclusive);
        thread.retry(locks.notifier(), None, Restart::Automatic, attempt).await?;
        Ok(0)
    }))
}

/// The third argument of ioctl as the file sees it.
struct UserArgument<'a> {
    memory: &'a Mm,
    value: u64,
}

impl IoctlArgument for UserArgument<'_> {
    fn value(&self) -> u64 {
        self.value
    }

    fn load(&mut self, into: &mut [u8]) -> Result<(), Errno> {
        self.memory.read_bytes(UserAddr(self.value), into)
    }

    fn store(&mut self, from: &[u8]) -> Result<(), Errno> {
        self.memory.write_bytes(UserAddr(self.value), from)
    }
}

/// Commands that every file has.
mod generic {
    pub(super) const FIOCLEX: u32 = 0x5451;
    pub(super) const FIONCLEX: u32 = 0x5450;
    pub(super) const FIONBIO: u32 = 0x5421;
    pub(super) const TIOCGPTPEER: u32 = 0x5441;
    pub(super) const FIONREAD: u32 = 0x541b;
}

fn ioctl(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let file = open.usable()?;
    let number = call.unsigned(1);
    let mut argument = UserArgument { memory: call.memory(), value: call.long(2) };
    match number {
        generic::FIOCLEX | generic::FIONCLEX => {
            let on = number == generic::FIOCLEX;
            call.process().files.set_close_on_exec(call.fd(0), on)?;
            Ok(0)
        }
        generic::FIONBIO => {
            let on = call.memory().read::<u32>(call.address(2))? != 0;
            let mut flags = open.flags();
            flags.set(OpenFlags::NONBLOCK, on);
            open.set_flags(flags);
            Ok(0)
        }
        generic::FIONREAD if is_regular(&open) => {
            let offset = open.with_offset(|offset| *offset);
            let rest = open.metadata()?.bytes.saturating_sub(offset);
            argument.store(&(rest as u32).to_le_bytes())?;
            Ok(0)
        }
        generic::TIOCGPTPEER => open_peer(call, file),
        _ => match file_owner::ioctl(call, &open, number) {
            Some(result) => result,
            None => file.ioctl(number, &mut argument),
        },
    }
}

/// A descriptor of the other end of a pseudo terminal.
fn open_peer(call: &Call<'_>, file: &FileRef) -> Result<usize, Errno> {
    let process = call.process();
    let master = file.as_any().downcast_ref::<PtyMaster>().ok_or(Errno::ENOTTY)?;
    let root = process.vfs.resolve(process.vfs.at_root(), b"/dev/pts", true)?.inode;
    let flags = OpenFlags::from_bits_truncate(call.unsigned(2));
    let open = master.open_peer(flags, root)?;
    let fd = process.files.insert(open, flags.contains(OpenFlags::CLOEXEC))?;
    usize::try_from(fd.0).map_err(|_| Errno::EMFILE)
}

fn is_regular(open: &OpenFile) -> bool {
    open.inode().is_some_and(|inode| inode.kind() == FileType::Regular)
}

fn fsync(call: &Call<'_>) -> Result<usize, Errno> {
    call.open_file(0)?.usable()?.sync().map(|()| 0)
}

fn sync_file_range(call: &Call<'_>) -> Result<usize, Errno> {
    const KNOWN: u32 = 7;
    let open = call.open_file(0)?;
    let (offset, length) = (call.long(1).cast_signed(), call.long(2).cast_signed());
    let end = offset.checked_add(length);
    if call.unsigned(3) & !KNOWN != 0 || offset < 0 || length < 0 || end.is_none_or(|end| end < 0) {
        return Err(Errno::EINVAL);
    }
    match open.metadata()?.kind {
        FileType::Regular | FileType::BlockDevice | FileType::Directory => Ok(0),
        _ => Err(Errno::ESPIPE),
    }
}

fn fadvise64(call: &Call<'_>) -> Result<usize, Errno> {
    const LAST_ADVICE: u32 = 5;
    let open = call.open_file(0)?;
    open.usable()?;
    if open.metadata()?.kind == FileType::Fifo {
        return Err(Errno::ESPIPE);
    }
    if call.long(2).cast_signed() < 0 || call.unsigned(3) > LAST_ADVICE {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

fn readahead(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    open.readable()?;
    match open.metadata()?.kind {
        FileType::Regular | FileType::BlockDevice => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
