//! Files without a name: pipes, event counters, timers, memory files, inotify.

use crate::call::Call;
use crate::files::PathArgument;
use crate::table::{Row, full, partial};
use crate::trace::Argument::{self, Fd, Flags, Hex, Int, Path};
use abi::file::AT_FDCWD;
use abi::number as nr;
use abi::time::Timespec;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use base::{Errno, Instant};
use core::time::Duration;
use hal::clock;
use vfs::access::AccessMode;
use vfs::eventfd::EventFd;
use vfs::inotify::{Event, Inotify};
use vfs::memory::{MemoryInode, Seals};
use vfs::pipe::Pipe;
use vfs::timerfd::{TimerFd, TimerSetting};
use vfs::{FileRef, OpenFile, OpenFlags, Place};

const PIPE: Argument =
    Flags(&[(0o2_000_000, "O_CLOEXEC"), (0o4_000, "O_NONBLOCK"), (0o40_000, "O_DIRECT")]);
const EVENTFD: Argument =
    Flags(&[(0o2_000_000, "EFD_CLOEXEC"), (0o4_000, "EFD_NONBLOCK"), (1, "EFD_SEMAPHORE")]);
const TIMERFD: Argument = Flags(&[(0o2_000_000, "TFD_CLOEXEC"), (0o4_000, "TFD_NONBLOCK")]);
const SETTIME: Argument = Flags(&[(1, "TFD_TIMER_ABSTIME"), (2, "TFD_TIMER_CANCEL_ON_SET")]);
const INOTIFY: Argument = Flags(&[(0o2_000_000, "IN_CLOEXEC"), (0o4_000, "IN_NONBLOCK")]);

const MEMFD: &str = "MFD_HUGETLB is EINVAL; all together hold at most a quarter of the memory";

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::PIPE, "pipe", &[Hex], |call| pipe(call, 0).into()),
    full(nr::PIPE2, "pipe2", &[Hex, PIPE], |call| pipe(call, call.unsigned(1)).into()),
    full(nr::EVENTFD, "eventfd", &[Int], |call| eventfd(call, 0).into()),
    full(nr::EVENTFD2, "eventfd2", &[Int, EVENTFD], |call| eventfd(call, call.unsigned(1)).into()),
    full(nr::TIMERFD_CREATE, "timerfd_create", &[Int, TIMERFD], |call| timerfd_create(call).into()),
    partial(
        nr::TIMERFD_SETTIME,
        "timerfd_settime",
        &[Fd, SETTIME, Hex, Hex],
        "the wall clock is never set, so TFD_TIMER_CANCEL_ON_SET never fires",
        |call| timerfd_settime(call).into(),
    ),
    full(nr::TIMERFD_GETTIME, "timerfd_gettime", &[Fd, Hex], |call| timerfd_gettime(call).into()),
    partial(nr::MEMFD_CREATE, "memfd_create", &[Path, Hex], MEMFD, |call| {
        memfd_create(call).into()
    }),
    full(nr::INOTIFY_INIT, "inotify_init", &[], |call| inotify_init(call, 0).into()),
    full(nr::INOTIFY_INIT1, "inotify_init1", &[INOTIFY], |call| {
        inotify_init(call, call.unsigned(0)).into()
    }),
    partial(
        nr::INOTIFY_ADD_WATCH,
        "inotify_add_watch",
        &[Fd, Path, Hex],
        "no IN_UNMOUNT",
        |call| inotify_add_watch(call).into(),
    ),
    full(nr::INOTIFY_RM_WATCH, "inotify_rm_watch", &[Fd, Int], |call| {
        inotify_rm_watch(call).into()
    }),
];

const CLOEXEC: u32 = OpenFlags::CLOEXEC.bits();
const NONBLOCK: u32 = OpenFlags::NONBLOCK.bits();

/// Opens a file without a path and hands out a descriptor for it.
pub(crate) fn install(call: &Call<'_>, file: FileRef, flags: OpenFlags) -> Result<usize, Errno> {
    let open = OpenFile::new(file, flags);
    let fd = call.process().files.insert(open, flags.contains(OpenFlags::CLOEXEC))?;
    Ok(usize::try_from(fd.0).unwrap_or_default())
}

/// The flags of a descriptor for reading and writing, less those that are not of open(2).
fn read_write(flags: u32) -> OpenFlags {
    OpenFlags::from_bits_truncate(flags & (CLOEXEC | NONBLOCK)) | OpenFlags::RDWR
}

fn pipe(call: &Call<'_>, flags: u32) -> Result<usize, Errno> {
    if flags & !(CLOEXEC | NONBLOCK | OpenFlags::DIRECT.bits()) != 0 {
        return Err(Errno::EINVAL);
    }
    let common = OpenFlags::from_bits_truncate(flags);
    let files = &call.process().files;
    let close_on_exec = common.contains(OpenFlags::CLOEXEC);
    let (reader, writer) = Pipe::pair(common);
    // As on Linux, where only writes are packets.
    let reader = OpenFile::new(reader, common - OpenFlags::DIRECT);
    let reader = files.insert(reader, close_on_exec)?;
    let writer = OpenFile::new(writer, common | OpenFlags::WRONLY);
    let written = files.insert(writer, close_on_exec).and_then(|writer| {
        let written = call.memory().write(call.address(0), &[reader.0, writer.0]);
        if written.is_err() {
            // Never seen by the program.
            let _ = files.close(writer);
        }
        written
    });
    if let Err(errno) = written {
        let _ = files.close(reader);
        return Err(errno);
    }
    Ok(0)
}

fn eventfd(call: &Call<'_>, flags: u32) -> Result<usize, Errno> {
    const SEMAPHORE: u32 = 1;
    if flags & !(CLOEXEC | NONBLOCK | SEMAPHORE) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = EventFd::new(call.unsigned(0), flags & SEMAPHORE != 0);
    install(call, file, read_write(flags))
}

fn timerfd_create(call: &Call<'_>) -> Result<usize, Errno> {
    let flags = call.unsigned(1);
    // REALTIME, MONOTONIC, BOOTTIME and the two alarm clocks.
    let is_wall = match call.int(0) {
        0 | 8 => true,
        1 | 7 | 9 => false,
        _ => return Err(Errno::EINVAL),
    };
    if flags & !(CLOEXEC | NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = TimerFd::new(&call.process().machine.timers, is_wall);
    install(call, file, read_write(flags))
}

/// `struct itimerspec`: interval, then value.
fn read_setting(call: &Call<'_>, index: usize) -> Result<[Duration; 2], Errno> {
    let at = call.address(index);
    let interval: Timespec = call.memory().read(at)?;
    let value: Timespec = call.memory().read(at.wrapping_add(size_of::<Timespec>() as u64))?;
    Ok([interval.duration()?, value.duration()?])
}

fn write_setting(
    call: &Call<'_>,
    index: usize,
    setting: TimerSetting,
    now: Instant,
) -> Result<(), Errno> {
    let left = setting.next.map_or(Duration::ZERO, |next| {
        // An armed timer never shows zero: that means disarmed.
        next.saturating_since(now).max(Duration::from_nanos(1))
    });
    let both = [Timespec::from(setting.interval), Timespec::from(left)];
    call.memory().write(call.address(index), &both)
}

fn timer(open: &OpenFile) -> Result<&TimerFd, Errno> {
    open.usable()?.as_any().downcast_ref().ok_or(Errno::EINVAL)
}

fn timerfd_settime(call: &Call<'_>) -> Result<usize, Errno> {
    const ABSOLUTE: u32 = 1;
    const CANCEL_ON_SET: u32 = 2;
    let flags = call.unsigned(1);
    if flags & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let [interval, value] = read_setting(call, 2)?;
    let open = call.open_file(0)?;
    let timer = timer(&open)?;
    let now = clock::now();
    let next = if value.is_zero() {
        None
    } else if flags & ABSOLUTE == 0 {
        Some(now + value)
    } else if timer.is_wall() {
        let wall = Duration::from_nanos(clock::wall(now).nanoseconds);
        Some(now + value.saturating_sub(wall))
    } else {
        Some(Instant::ZERO + value)
    };
    let old = timer.set(TimerSetting { next, interval }, now);
    if !call.address(3).is_null() {
        write_setting(call, 3, old, now)?;
    }
    Ok(0)
}

fn timerfd_gettime(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let now = clock::now();
    write_setting(call, 1, timer(&open)?.get(now), now)?;
    Ok(0)
}

/// Longest name of a memory file, in bytes without the zero.
const MEMFD_NAME_MAX: usize = 249;

fn memfd_create(call: &Call<'_>) -> Result<usize, Errno> {
    const MFD_CLOEXEC: u32 = 1;
    const ALLOW_SEALING: u32 = 2;
    const NOEXEC_SEAL: u32 = 8;
    const EXEC: u32 = 16;
    let flags = call.unsigned(1);
    if flags & !(MFD_CLOEXEC | ALLOW_SEALING | NOEXEC_SEAL | EXEC) != 0
        || flags & (NOEXEC_SEAL | EXEC) == NOEXEC_SEAL | EXEC
    {
        return Err(Errno::EINVAL);
    }
    let name = call.memory().read_c_string(call.address(0), MEMFD_NAME_MAX + 1);
    let name =
        name.map_err(|errno| if errno == Errno::ENAMETOOLONG { Errno::EINVAL } else { errno })?;
    let sealable = flags & (ALLOW_SEALING | NOEXEC_SEAL) != 0;
    let permissions = if flags & NOEXEC_SEAL != 0 { 0o666 } else { 0o777 };
    let inode = MemoryInode::unnamed(call.process().vfs.nameless(), permissions, sealable);
    if flags & NOEXEC_SEAL != 0
        && let Some(seals) = inode.seals()
    {
        seals.add(Seals::EXEC)?;
    }
    let mut shown = String::from("memfd:");
    shown.push_str(&String::from_utf8_lossy(&name));
    let name: Box<[u8]> = shown.into_bytes().into();
    let place = Place { inode, parent: None, name };
    let open = OpenFile::of_place(place, OpenFlags::RDWR | OpenFlags::LARGEFILE);
    let fd = call.process().files.insert(open, flags & MFD_CLOEXEC != 0)?;
    Ok(usize::try_from(fd.0).unwrap_or_default())
}

fn inotify_init(call: &Call<'_>, flags: u32) -> Result<usize, Errno> {
    if flags & !(CLOEXEC | NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    install(call, Inotify::new(), OpenFlags::from_bits_truncate(flags))
}

fn inotify(open: &OpenFile) -> Result<&Inotify, Errno> {
    open.usable()?.as_any().downcast_ref().ok_or(Errno::EINVAL)
}

fn inotify_add_watch(call: &Call<'_>) -> Result<usize, Errno> {
    let mask = Event::from_bits_truncate(call.unsigned(2));
    let open: Arc<OpenFile> = call.open_file(0)?;
    let instance = inotify(&open)?;
    let argument = PathArgument::read(call, base::Fd(AT_FDCWD), call.address(1))?;
    let follow = !mask.contains(Event::DONT_FOLLOW);
    let place = call.process().vfs.resolve(argument.at(), &argument.path, follow)?;
    argument.who.check(&*place.inode, AccessMode::READ)?;
    let watch = instance.add(&place.inode, mask)?;
    usize::try_from(watch).map_err(|_| Errno::ENOSPC)
}

fn inotify_rm_watch(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    inotify(&open)?.remove(call.int(1)).map(|()| 0)
}
