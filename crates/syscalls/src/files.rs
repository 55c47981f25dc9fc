//! What the calls about files share: paths, descriptors, waiting.

use crate::call::{Call, Failure, Outcome, Restart};
use crate::credentials::Asker;
use crate::process::PROCESS_ID;
use crate::signal::{Origin, SIGPIPE, SIGXFSZ, SignalInfo, code};
use crate::thread::Thread;
use abi::file::{AT_EMPTY_PATH, AT_FDCWD};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, Fd, Instant, UserAddr};
use core::sync::atomic::Ordering;
use core::time::Duration;
use mm::Mm;
use sched::Notifier;
use vfs::flags::PATH_MAX;
use vfs::tty::Tty;
use vfs::{At, FileType, Found, InodeRef, OpenFile, Who};

/// A path that the program gave, and from where it counts.
pub(crate) struct PathArgument {
    pub(crate) path: Vec<u8>,
    directory: InodeRef,
    root: InodeRef,
    pub(crate) who: Asker,
}

impl PathArgument {
    /// Reads the path at `address`; a relative one starts at the directory `from`.
    pub(crate) fn read(call: &Call<'_>, from: Fd, address: UserAddr) -> Result<Self, Errno> {
        let path = call.memory().read_c_string(address, PATH_MAX)?;
        Self::of(call.thread, from, path)
    }

    /// The path as a value; a relative one starts at the directory `from`.
    pub(crate) fn of(thread: &Thread, from: Fd, path: Vec<u8>) -> Result<Self, Errno> {
        let process = &*thread.process;
        let (working, root) = {
            let directories = process.directories.lock();
            (directories.working.clone(), directories.root.clone())
        };
        // An absolute path does not look at the descriptor, not even whether it is open.
        let directory = if from.0 == AT_FDCWD || path.first() == Some(&b'/') {
            working
        } else {
            let open = process.files.get(from)?;
            let inode = open.inode().ok_or(Errno::ENOTDIR)?;
            if inode.kind() != FileType::Directory && !path.is_empty() {
                return Err(Errno::ENOTDIR);
            }
            inode.clone()
        };
        Ok(Self { path, directory, root, who: thread.identity.asker() })
    }

    /// For the calls of [`vfs::Vfs`].
    pub(crate) fn at(&self) -> At<'_> {
        At { who: &self.who, ..At::new(&self.directory, &self.root) }
    }
}

/// What a (directory, path, flags) triple means: with `AT_EMPTY_PATH` and an empty path the
/// descriptor itself.
pub(crate) fn find(
    call: &Call<'_>,
    from: Fd,
    address: UserAddr,
    flags: u32,
    follow: bool,
) -> Result<Found, Errno> {
    find_as(call, &call.asker(), from, address, flags, follow)
}

/// As [`find`], on the way as `who`.
pub(crate) fn find_as(
    call: &Call<'_>,
    who: &Who,
    from: Fd,
    address: UserAddr,
    flags: u32,
    follow: bool,
) -> Result<Found, Errno> {
    let memory = call.memory();
    if flags & AT_EMPTY_PATH != 0 {
        let is_empty = address.is_null() || memory.read::<u8>(address)? == 0;
        if is_empty {
            return itself(call, from);
        }
    }
    let argument = PathArgument::read(call, from, address)?;
    call.process().vfs.find(At { who, ..argument.at() }, &argument.path, follow)
}

/// What a descriptor leads to, as a place.
pub(crate) fn itself(call: &Call<'_>, fd: Fd) -> Result<Found, Errno> {
    if fd.0 == AT_FDCWD {
        let working = call.process().directories.lock().working.clone();
        return Ok(Found::Place(vfs::Place::of(working)));
    }
    let open = call.process().files.get(fd)?;
    Ok(match open.place() {
        Some(place) => Found::Place(place),
        None => Found::File(Arc::clone(open.file())),
    })
}

/// The place of what was found.
///
/// # Errors
/// `EINVAL`: it has none.
pub(crate) fn place_of(found: Found) -> Result<vfs::Place, Errno> {
    match found {
        Found::Place(place) => Ok(place),
        Found::File(_) => Err(Errno::EINVAL),
    }
}

/// Permissions less the umask.
pub(crate) fn masked(call: &Call<'_>, permissions: u32) -> u32 {
    permissions & 0o7777 & !call.process().umask.load(Ordering::Relaxed)
}

impl Call<'_> {
    /// Who asks, as files see it.
    pub(crate) fn asker(&self) -> Asker {
        self.thread.identity.asker()
    }

    /// The open file of descriptor argument `index`.
    pub(crate) fn open_file(&self, index: usize) -> Result<Arc<OpenFile>, Errno> {
        self.process().files.get(self.fd(index))
    }
}

/// Until when a blocking read (or write) of this file waits.
pub(crate) fn deadline_of(open: &OpenFile, write: bool) -> Option<Instant> {
    open.file().time_limit(write).map(|limit: Duration| hal::clock::now() + limit)
}

/// Sends the signal that goes with a write's error: SIGPIPE with `EPIPE`, SIGXFSZ with `EFBIG` if that
/// came of RLIMIT_FSIZE.
#[inline]
pub(crate) fn raise_for<T>(thread: &Thread, result: &Result<T, Errno>) {
    if let Err(errno @ (Errno::EPIPE | Errno::EFBIG)) = result {
        raise(thread, *errno);
    }
}

#[cold]
fn raise(thread: &Thread, errno: Errno) {
    let signal = match errno {
        Errno::EPIPE => SIGPIPE,
        _ if thread.process.limits.lock().file_bytes() != u64::MAX => SIGXFSZ,
        _ => return,
    };
    // Linux sends both as if the thread did it itself.
    let origin = Origin::Process(PROCESS_ID);
    // A full signal queue is no reason to fail differently.
    let _ = thread.send_signal(SignalInfo { signal, code: code::SI_USER, origin });
}

/// As [`raise_for`], passing the result on.
pub(crate) fn raised<T>(thread: &Thread, result: Result<T, Errno>) -> Result<T, Errno> {
    raise_for(thread, &result);
    result
}

/// Makes a transfer that may have to wait: at once if possible, without allocating. `attempt` is
/// made again whenever the file says that it may work now.
pub(crate) fn transfer(
    call: &Call<'_>,
    open: Arc<OpenFile>,
    write: bool,
    mut attempt: impl FnMut(&Mm, &OpenFile) -> Result<usize, Errno> + Send + 'static,
) -> Outcome {
    let first = attempt(call.memory(), &open);
    let waits = matches!(first, Err(Errno::EAGAIN)) && !open.is_nonblocking();
    if !waits || open.file().notifier().is_none() {
        call.thread.io.read(&first);
        return first.into();
    }
    let thread = Arc::clone(call.thread);
    Outcome::wait(async move {
        let counts = Arc::clone(&thread);
        let over = move |result: Result<usize, Failure>| {
            counts.io.read(&result.map_err(|_| Errno::EINTR));
            result
        };
        let deadline = deadline_of(&open, write);
        let notifier = open.file().notifier().ok_or(Errno::EAGAIN)?;
        if let Some(tty) = vfs::tty::of(open.file()) {
            let attempt = || attempt(&thread.process.memory, &open);
            return over(read_terminal(&thread, tty, notifier, attempt).await);
        }
        let attempt = || attempt(&thread.process.memory, &open);
        over(thread.retry(notifier, deadline, Restart::Automatic, attempt).await)
    })
}

/// A read from a terminal, which may have its time (VTIME of termios(3)).
async fn read_terminal(
    thread: &Thread,
    tty: &Tty,
    notifier: &Notifier,
    mut attempt: impl FnMut() -> Result<usize, Errno>,
) -> Result<usize, Failure> {
    let since = hal::clock::now();
    let mut is_over = false;
    loop {
        let ready = notifier.wait();
        match attempt() {
            Err(Errno::EAGAIN) if is_over => return Ok(0),
            Err(Errno::EAGAIN) => {}
            other => return other.map_err(Failure::Errno),
        }
        let end = tty.read_ends(since);
        let at = end.map(|(at, _)| at);
        match thread.interruptible(ready, at, Restart::Automatic).await {
            Ok(()) => {}
            Err(Failure::Errno(Errno::ETIMEDOUT)) => is_over = end.is_some_and(|(_, over)| over),
            Err(failure) => return Err(failure),
        }
    }
}

/// A write that sleeps until all is written. `attempt(done)` writes what comes after the first
/// `done` bytes.
pub(crate) fn write_all(
    call: &Call<'_>,
    open: Arc<OpenFile>,
    total: usize,
    mut attempt: impl FnMut(&Mm, &OpenFile, usize) -> Result<usize, Errno> + Send + 'static,
) -> Outcome {
    let first = attempt(call.memory(), &open, 0);
    raise_for(call.thread, &first);
    let done = match first {
        Ok(done) if done < total => done,
        Err(Errno::EAGAIN) => 0,
        other => {
            call.thread.io.wrote(&other);
            return other.into();
        }
    };
    let stops = open.is_nonblocking() || open.file().notifier().is_none();
    if stops {
        let result = if done > 0 { Ok(done) } else { first };
        call.thread.io.wrote(&result);
        return result.into();
    }
    let thread = Arc::clone(call.thread);
    Outcome::wait(async move {
        let result = write_rest(&thread, &open, total, done, attempt).await;
        thread.io.wrote(&result.map_err(|_| Errno::EINTR));
        result
    })
}

async fn write_rest(
    thread: &Thread,
    open: &OpenFile,
    total: usize,
    mut done: usize,
    mut attempt: impl FnMut(&Mm, &OpenFile, usize) -> Result<usize, Errno> + Send,
) -> Result<usize, Failure> {
    let deadline = deadline_of(open, true);
    let notifier = open.file().notifier().ok_or(Errno::EAGAIN)?;
    while done < total {
        let step = thread
            .retry(notifier, deadline, Restart::Automatic, || {
                attempt(&thread.process.memory, open, done)
            })
            .await;
        match step {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(failure) => {
                if let Failure::Errno(errno) = failure {
                    raise_for::<()>(thread, &Err(errno));
                }
                if done == 0 {
                    return Err(failure);
                }
                break;
            }
        }
    }
    Ok(done)
}
