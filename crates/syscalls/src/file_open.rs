//! Opening, closing and duplicating descriptors.

use crate::call::{Call, Outcome, Restart};
use crate::file_io::outcome;
use crate::files::{PathArgument, masked};
use crate::table::{Row, full, partial};
use crate::trace::Argument::{self, DirFd, Fd, Flags, Hex, Int, Mode, Path, Size};
use abi::file::{AT_FDCWD, OpenHow};
use abi::number as nr;
use alloc::sync::Arc;
use alloc::vec;
use base::{Errno, UserAddr};
use vfs::flags::PATH_MAX;
use vfs::pipe::PipeEnd;
use vfs::{At, FileType, OpenFile, OpenFlags};

pub(crate) const OPEN_FLAGS: &[(u64, &str)] = &[
    (0o2, "O_RDWR"),
    (0o1, "O_WRONLY"),
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1_000, "O_TRUNC"),
    (0o2_000, "O_APPEND"),
    (0o4_000, "O_NONBLOCK"),
    (0o4_010_000, "O_SYNC"),
    (0o10_000, "O_DSYNC"),
    (0o40_000, "O_DIRECT"),
    (0o100_000, "O_LARGEFILE"),
    (0o20_200_000, "O_TMPFILE"),
    (0o200_000, "O_DIRECTORY"),
    (0o400_000, "O_NOFOLLOW"),
    (0o1_000_000, "O_NOATIME"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o10_000_000, "O_PATH"),
];
const OPEN: Argument = Flags(OPEN_FLAGS);

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::OPENAT, "openat", &[DirFd, Path, OPEN, Mode], |call| outcome(call, openat)),
    full(nr::OPEN, "open", &[Path, OPEN, Mode], |call| outcome(call, open)),
    full(nr::CREAT, "creat", &[Path, Mode], |call| outcome(call, creat)),
    full(nr::OPENAT2, "openat2", &[DirFd, Path, Hex, Size], |call| outcome(call, openat2)),
    full(nr::CLOSE, "close", &[Fd], |call| close(call).into()),
    partial(
        nr::CLOSE_RANGE,
        "close_range",
        &[Int, Int, Hex],
        "CLOSE_RANGE_UNSHARE only from the only thread",
        |call| close_range(call).into(),
    ),
    full(nr::DUP, "dup", &[Fd], |call| dup(call).into()),
    full(nr::DUP2, "dup2", &[Fd, Fd], |call| dup2(call).into()),
    full(nr::DUP3, "dup3", &[Fd, Fd, OPEN], |call| dup3(call).into()),
];

fn descriptor(fd: base::Fd) -> usize {
    usize::try_from(fd.0).unwrap_or_default()
}

/// Opens, waits for the other side of a FIFO, and hands out the descriptor.
fn finish(call: &Call<'_>, open: Arc<OpenFile>, flags: OpenFlags) -> Result<Outcome, Errno> {
    let close_on_exec = flags.contains(OpenFlags::CLOEXEC);
    let must_wait = !flags.contains(OpenFlags::NONBLOCK)
        && open.file().as_any().downcast_ref::<PipeEnd>().is_some_and(|end| !end.peer_arrived());
    if !must_wait {
        return Ok(call.process().files.insert(open, close_on_exec).map(descriptor).into());
    }
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move {
        let end = open.file().as_any().downcast_ref::<PipeEnd>().ok_or(Errno::ENXIO)?;
        let notifier = open.file().notifier().ok_or(Errno::ENXIO)?;
        thread
            .retry(notifier, None, Restart::Automatic, || {
                if end.peer_arrived() { Ok(()) } else { Err(Errno::EAGAIN) }
            })
            .await?;
        let fd = thread.process.files.insert(Arc::clone(&open), close_on_exec)?;
        Ok(descriptor(fd))
    }))
}

fn open_path(
    call: &Call<'_>,
    from: base::Fd,
    path: UserAddr,
    flags: OpenFlags,
    mode: u32,
) -> Result<Outcome, Errno> {
    let argument = PathArgument::read(call, from, path)?;
    let permissions = masked(call, mode);
    let open = call.process().vfs.open(argument.at(), &argument.path, flags, permissions)?;
    if flags.contains(OpenFlags::TRUNC) {
        // Pages that are mapped somewhere are gone too.
        let metadata = open.metadata()?;
        if metadata.kind == FileType::Regular {
            call.process().file_truncated(&metadata, 0);
        }
    }
    finish(call, open, flags)
}

fn openat(call: &Call<'_>) -> Result<Outcome, Errno> {
    let flags = OpenFlags::of_open(call.unsigned(2));
    open_path(call, call.fd(0), call.address(1), flags, call.unsigned(3))
}

fn open(call: &Call<'_>) -> Result<Outcome, Errno> {
    let flags = OpenFlags::of_open(call.unsigned(1));
    open_path(call, base::Fd(AT_FDCWD), call.address(0), flags, call.unsigned(2))
}

fn creat(call: &Call<'_>) -> Result<Outcome, Errno> {
    let flags = OpenFlags::WRONLY | OpenFlags::CREAT | OpenFlags::TRUNC | OpenFlags::LARGEFILE;
    open_path(call, base::Fd(AT_FDCWD), call.address(0), flags, call.unsigned(1))
}

/// `RESOLVE_*` of openat2(2).
mod resolve {
    pub(super) const NO_XDEV: u64 = 1;
    pub(super) const NO_MAGICLINKS: u64 = 2;
    pub(super) const NO_SYMLINKS: u64 = 4;
    pub(super) const BENEATH: u64 = 8;
    pub(super) const IN_ROOT: u64 = 0x10;
    pub(super) const CACHED: u64 = 0x20;
    pub(super) const KNOWN: u64 =
        NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS | BENEATH | IN_ROOT | CACHED;
}

fn openat2(call: &Call<'_>) -> Result<Outcome, Errno> {
    const HOW_BYTES: usize = size_of::<OpenHow>();
    let size = call.size(3);
    if size < HOW_BYTES {
        return Err(Errno::EINVAL);
    }
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    let how: OpenHow = call.memory().read(call.address(2))?;
    // What we do not know must be zero.
    let mut tail = vec![0_u8; size - HOW_BYTES];
    call.memory().read_bytes(call.address(2).wrapping_add(HOW_BYTES as u64), &mut tail)?;
    if tail.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let flags = u32::try_from(how.flags).ok().and_then(OpenFlags::from_bits);
    let flags = flags.ok_or(Errno::EINVAL)?;
    let creates = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE);
    let mode = u32::try_from(how.mode).map_err(|_| Errno::EINVAL)?;
    if mode & !0o7777 != 0 || (!creates && mode != 0) || how.resolve & !resolve::KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let with_path =
        OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
    if flags.contains(OpenFlags::PATH) && !with_path.contains(flags) {
        return Err(Errno::EINVAL);
    }
    let asks = |what| how.resolve & what != 0;
    if asks(resolve::BENEATH) && asks(resolve::IN_ROOT) {
        return Err(Errno::EINVAL);
    }
    // All files are in memory, but making one or cutting it is no look-up.
    if asks(resolve::CACHED) && (creates || flags.contains(OpenFlags::TRUNC)) {
        return Err(Errno::EAGAIN);
    }
    let mut path = call.memory().read_c_string(call.address(1), PATH_MAX)?;
    if asks(resolve::IN_ROOT) && path.first() == Some(&b'/') {
        // Its root is the descriptor's directory.
        path.insert(0, b'.');
    }
    let argument = PathArgument::of(call.thread, call.fd(0), path)?;
    let usual = argument.at();
    let at = At {
        root: if asks(resolve::IN_ROOT) { usual.directory } else { usual.root },
        beneath: asks(resolve::BENEATH),
        no_symlinks: asks(resolve::NO_SYMLINKS),
        no_magic_links: asks(resolve::NO_MAGICLINKS | resolve::IN_ROOT),
        no_crossing: asks(resolve::NO_XDEV),
        ..usual
    };
    let flags = OpenFlags::of_open(flags.bits());
    let open = call.process().vfs.open(at, &argument.path, flags, masked(call, mode))?;
    finish(call, open, flags)
}

fn close_range(call: &Call<'_>) -> Result<usize, Errno> {
    const UNSHARE: u32 = 2;
    const CLOEXEC: u32 = 4;
    let (first, last, flags) = (call.unsigned(0), call.unsigned(1), call.unsigned(2));
    if flags & !(UNSHARE | CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    // Nobody shares the table with a process of one thread; threads cannot have tables of their
    // own.
    if flags & UNSHARE != 0 && call.process().thread_ids().len() > 1 {
        return Err(Errno::EINVAL);
    }
    call.process().files.close_range(first, last, flags & CLOEXEC != 0);
    call.process().machine.descriptors_closed();
    Ok(0)
}

fn close(call: &Call<'_>) -> Result<usize, Errno> {
    call.process().files.close(call.fd(0))?;
    call.process().machine.descriptors_closed();
    Ok(0)
}

fn dup(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    call.process().files.insert(open, false).map(descriptor)
}

fn dup2(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let to = call.fd(1);
    if call.fd(0) != to {
        call.process().files.replace(to, open, false)?;
    }
    Ok(descriptor(to))
}

fn dup3(call: &Call<'_>) -> Result<usize, Errno> {
    let flags = call.unsigned(2);
    if flags & !OpenFlags::CLOEXEC.bits() != 0 || call.fd(0) == call.fd(1) {
        return Err(Errno::EINVAL);
    }
    let open = call.open_file(0)?;
    let to = call.fd(1);
    call.process().files.replace(to, open, flags != 0)?;
    Ok(descriptor(to))
}
