//! Moving bytes from file to file inside the kernel: sendfile, splice, tee, copy_file_range.
//!
//! A [`FileSource`] or [`PipeSource`] makes one file the source of the other's write, and a
//! [`PipeSink`] a pipe the sink of a read: no buffer in between.

use crate::call::{Call, Failure, Outcome, Restart};
use crate::file_io::outcome;
use crate::files::{raise_for, raised};
use crate::table::{Row, full, partial};
use crate::thread::Thread;
use crate::trace::Argument::{Fd, Flags, Hex, Size};
use abi::number as nr;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::io::{Sink, SliceSink, SliceSource, Source};
use base::{Errno, UserAddr};
use core::future::Future;
use core::pin::pin;
use core::task::Poll;
use mm::{MAXIMUM_TRANSFER, UserSink, UserSource};
use vfs::pipe::{Pipe, PipeEnd};
use vfs::{File, FileType, OpenFile, OpenFlags};

const SPLICE_FLAGS: &[(u64, &str)] =
    &[(1, "SPLICE_F_MOVE"), (2, "SPLICE_F_NONBLOCK"), (4, "SPLICE_F_MORE"), (8, "SPLICE_F_GIFT")];
const SPLICE_NONBLOCK: u32 = 2;
const SPLICE_KNOWN: u32 = 15;

/// Bytes moved at once where a buffer is needed.
const BUFFER_BYTES: usize = 16 * 1024;

/// Bytes sent before a look at who else wants to run: a file may be longer than time.
const STEP_BYTES: usize = 256 * 1024;

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::SENDFILE, "sendfile", &[Fd, Fd, Hex, Size], |call| outcome(call, sendfile)),
    full(nr::SPLICE, "splice", &[Fd, Hex, Fd, Hex, Size, Flags(SPLICE_FLAGS)], |call| {
        outcome(call, splice)
    }),
    full(nr::VMSPLICE, "vmsplice", &[Fd, Hex, Size, Flags(SPLICE_FLAGS)], |call| {
        outcome(call, vmsplice)
    }),
    full(nr::TEE, "tee", &[Fd, Fd, Size, Flags(SPLICE_FLAGS)], |call| outcome(call, tee)),
    partial(
        nr::COPY_FILE_RANGE,
        "copy_file_range",
        &[Fd, Hex, Fd, Hex, Size, Hex],
        "copies also between file systems",
        |call| copy_file_range(call).into(),
    ),
];

/// A regular file as the source of a write.
struct FileSource<'a> {
    file: &'a dyn File,
    offset: u64,
    remaining: usize,
}

impl<'a> FileSource<'a> {
    fn new(file: &'a dyn File, offset: u64, limit: usize) -> Result<Self, Errno> {
        let rest = file.metadata()?.bytes.saturating_sub(offset);
        let remaining = limit.min(usize::try_from(rest).unwrap_or(usize::MAX));
        Ok(Self { file, offset, remaining })
    }
}

impl Source for FileSource<'_> {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let count = into.len().min(self.remaining);
        let into = into.get_mut(..count).unwrap_or_default();
        let moved = self.file.read(self.offset, &mut SliceSink::new(into))?;
        self.offset += moved as u64;
        // A file that was cut meanwhile has no more.
        self.remaining = if moved < count { 0 } else { self.remaining - moved };
        Ok(moved)
    }
}

/// A pipe as the source of a write.
struct PipeSource<'a> {
    end: &'a PipeEnd,
    remaining: usize,
    failed: Option<Errno>,
}

impl Source for PipeSource<'_> {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let count = into.len().min(self.remaining);
        let into = into.get_mut(..count).unwrap_or_default();
        let moved = self.end.read(0, &mut SliceSink::new(into))?;
        self.remaining = if moved < count { 0 } else { self.remaining - moved };
        Ok(moved)
    }

    fn take_present(&mut self, into: &mut [u8]) -> usize {
        self.take(into).inspect_err(|errno| self.failed = Some(*errno)).unwrap_or(0)
    }

    fn resume(&mut self) -> Result<bool, Errno> {
        self.failed.take().map_or(Ok(false), Err)
    }
}

/// A pipe as the sink of a read.
struct PipeSink<'a> {
    end: &'a PipeEnd,
    room: usize,
    failed: Option<Errno>,
}

impl Sink for PipeSink<'_> {
    fn room(&self) -> usize {
        self.room
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let count = bytes.len().min(self.room);
        let bytes = bytes.get(..count).unwrap_or_default();
        let moved = self.end.write(0, &mut SliceSource::new(bytes))?;
        self.room = if moved < count { 0 } else { self.room - moved };
        Ok(moved)
    }

    fn put_present(&mut self, bytes: &[u8]) -> usize {
        self.put(bytes).inspect_err(|errno| self.failed = Some(*errno)).unwrap_or(0)
    }

    fn resume(&mut self) -> Result<bool, Errno> {
        self.failed.take().map_or(Ok(false), Err)
    }
}

fn is_regular(open: &OpenFile) -> bool {
    open.inode().is_some_and(|inode| inode.kind() == FileType::Regular)
}

fn read_offset(call: &Call<'_>, at: UserAddr) -> Result<Option<u64>, Errno> {
    if at.is_null() {
        return Ok(None);
    }
    let offset = call.memory().read::<i64>(at)?;
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

/// Moves bytes from a file at `offset` to another file's write, without sleeping.
fn send_some(from: &OpenFile, offset: u64, to: &OpenFile, limit: usize) -> Result<usize, Errno> {
    if is_regular(from) && from.metadata()?.bytes > 0 {
        let mut source = FileSource::new(&**from.file(), offset, limit)?;
        if source.remaining() == 0 {
            return Ok(0);
        }
        let count = to.write(&mut source)?;
        from.was_read(count);
        return Ok(count);
    }
    // A file whose length is not known before (/proc, /dev/zero): by way of a buffer.
    let mut buffer = Vec::new();
    let length = limit.min(BUFFER_BYTES);
    buffer.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(length, 0);
    let count = from.read_at(offset, &mut SliceSink::new(&mut buffer))?;
    let bytes = buffer.get(..count).unwrap_or_default();
    if bytes.is_empty() { Ok(0) } else { to.write(&mut SliceSource::new(bytes)) }
}

fn sendfile(call: &Call<'_>) -> Result<Outcome, Errno> {
    let from = call.open_file(1)?;
    let to = call.open_file(0)?;
    let offset_at = call.address(2);
    let given = read_offset(call, offset_at)?;
    from.readable()?;
    to.writable()?;
    if !from.file().is_seekable() {
        return Err(if given.is_some() { Errno::ESPIPE } else { Errno::EINVAL });
    }
    if to.flags().contains(OpenFlags::APPEND) || !to.file().takes_splices() {
        return Err(Errno::EINVAL);
    }
    let start = given.unwrap_or_else(|| from.with_offset(|offset| *offset));
    let sending = Sending {
        thread: Arc::clone(call.thread),
        limit: call.size(3).min(MAXIMUM_TRANSFER),
        from,
        to,
        start,
        done: 0,
        offset_at,
    };
    sending.start()
}

/// A sendfile under way.
struct Sending {
    thread: Arc<Thread>,
    from: Arc<OpenFile>,
    to: Arc<OpenFile>,
    start: u64,
    limit: usize,
    done: usize,
    offset_at: UserAddr,
}

/// How far a sendfile came in one go.
enum Progress {
    /// To its end.
    Over,
    /// As far as its turn lasted.
    TurnOver,
}

impl Sending {
    fn start(mut self) -> Result<Outcome, Errno> {
        let result = self.run();
        let goes_on = match result {
            Ok(Progress::TurnOver) => true,
            Err(Errno::EAGAIN) => self.waits(),
            _ => false,
        };
        if !goes_on {
            return Ok(self.finish(result.err()).into());
        }
        Ok(Outcome::wait(async move {
            let (to, thread) = (Arc::clone(&self.to), Arc::clone(&self.thread));
            if matches!(result, Ok(Progress::TurnOver)) {
                sched::yield_now().await;
            }
            loop {
                let step = match to.file().notifier().filter(|_| self.waits()) {
                    Some(room) => thread.retry(room, None, Restart::Automatic, || self.run()).await,
                    None => self.run().map_err(Failure::Errno),
                };
                match step {
                    Ok(Progress::TurnOver) => sched::yield_now().await,
                    Ok(Progress::Over) => return Ok(self.finish(None)?),
                    Err(Failure::Errno(errno)) => return Ok(self.finish(Some(errno))?),
                    Err(failure) if self.done == 0 => return Err(failure),
                    Err(_) => return Ok(self.finish(None)?),
                }
            }
        }))
    }

    /// True when it sleeps where the other side has no room.
    fn waits(&self) -> bool {
        !self.to.is_nonblocking() && self.to.file().notifier().is_some()
    }

    /// Sends until all is sent, the file ends, the other side has no room, or the turn is over. As on
    /// Linux, a signal does not cut short what need not wait.
    fn run(&mut self) -> Result<Progress, Errno> {
        while self.done < self.limit {
            let offset = self.start + self.done as u64;
            let limit = (self.limit - self.done).min(STEP_BYTES);
            match send_some(&self.from, offset, &self.to, limit)? {
                0 => break,
                count => self.done += count,
            }
            if self.thread.process.is_exiting() {
                break;
            }
            if self.thread.process.machine.yield_due(hal::clock::now()) {
                return Ok(Progress::TurnOver);
            }
        }
        Ok(Progress::Over)
    }

    /// What was sent counts, whatever ended it; the offset moves on.
    fn finish(&self, failed: Option<Errno>) -> Result<usize, Errno> {
        let result = failed.map_or(Ok(self.done), Err);
        raise_for(&self.thread, &result);
        if self.done == 0 {
            return result;
        }
        self.thread.io.read(&Ok(self.done));
        self.thread.io.wrote(&Ok(self.done));
        let end = self.start + self.done as u64;
        if self.offset_at.is_null() {
            self.from.with_offset(|offset| *offset = end);
        } else {
            self.thread.process.memory.write(self.offset_at, &end)?;
        }
        Ok(self.done)
    }
}

fn pipe_end(open: &OpenFile) -> Option<&PipeEnd> {
    open.file().as_any().downcast_ref()
}

fn pipe_of(open: &OpenFile) -> Option<&Arc<Pipe>> {
    pipe_end(open).map(PipeEnd::pipe)
}

/// One step of a splice, without sleeping.
fn splice_some(
    from: &OpenFile,
    from_offset: Option<u64>,
    to: &OpenFile,
    to_offset: Option<u64>,
    limit: usize,
) -> Result<usize, Errno> {
    match (pipe_end(from), pipe_end(to)) {
        (Some(source), Some(sink)) => source.pipe().move_to(sink.pipe(), limit, false),
        (Some(source), None) => {
            let remaining = limit.min(source.pipe().bytes());
            if remaining == 0 {
                // End of file, or nothing yet: as reading says.
                return source.read(0, &mut SliceSink::new(&mut [0]));
            }
            let mut source = PipeSource { end: source, remaining, failed: None };
            match to_offset {
                Some(offset) => to.write_at(offset, &mut source),
                None => to.write(&mut source),
            }
        }
        (None, Some(sink)) => {
            let room = limit.min(sink.pipe().room());
            if room == 0 {
                // Broken, or full: as writing says.
                return sink.write(0, &mut SliceSource::new(&[0]));
            }
            let mut sink = PipeSink { end: sink, room, failed: None };
            match from_offset {
                Some(offset) => from.read_at(offset, &mut sink),
                None => from.read(&mut sink),
            }
        }
        (None, None) => Err(Errno::EINVAL),
    }
}

fn splice(call: &Call<'_>) -> Result<Outcome, Errno> {
    let flags = call.unsigned(5);
    let limit = call.size(4).min(MAXIMUM_TRANSFER);
    if limit == 0 {
        return Ok(Ok(0).into());
    }
    if flags & !SPLICE_KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (call.open_file(0)?, call.open_file(2)?);
    let (from_at, to_at) = (call.address(1), call.address(3));
    if (pipe_of(&from).is_some() && !from_at.is_null())
        || (pipe_of(&to).is_some() && !to_at.is_null())
    {
        return Err(Errno::ESPIPE);
    }
    let (from_offset, to_offset) = (read_offset(call, from_at)?, read_offset(call, to_at)?);
    from.readable()?;
    to.writable()?;
    if pipe_of(&from).is_none() && pipe_of(&to).is_none() {
        return Err(Errno::EINVAL);
    }
    let appends = to.flags().contains(OpenFlags::APPEND);
    if pipe_of(&to).is_none() && (appends || !to.file().takes_splices()) {
        return Err(Errno::EINVAL);
    }
    let blocking = flags & SPLICE_NONBLOCK == 0;
    let thread = Arc::clone(call.thread);
    two_files(call, from, to, blocking, move |from, to| {
        let result = splice_some(from, from_offset, to, to_offset, limit);
        raise_for(&thread, &result);
        let count = result?;
        let memory = &thread.process.memory;
        for (at, offset) in [(from_at, from_offset), (to_at, to_offset)] {
            if let Some(offset) = offset {
                memory.write(at, &(offset + count as u64))?;
            }
        }
        Ok(count)
    })
}

/// vmsplice(2). The bytes are copied: what the program does to its pages later is not seen by the
/// reader, which the manual leaves open.
fn vmsplice(call: &Call<'_>) -> Result<Outcome, Errno> {
    let flags = call.unsigned(3);
    if flags & !SPLICE_KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let open = call.open_file(0)?;
    let writes = open.writable().is_ok();
    if pipe_of(&open).is_none() {
        return Err(Errno::EBADF);
    }
    let pieces = call.memory().read_pieces(call.address(1), call.size(2))?;
    if pieces.iter().all(|piece| piece.bytes == 0) {
        return Ok(Ok(0).into());
    }
    let thread = Arc::clone(call.thread);
    let blocking = flags & SPLICE_NONBLOCK == 0;
    two_files(call, Arc::clone(&open), open, blocking, move |open, _| {
        let memory = &thread.process.memory;
        if !writes {
            return open.read(&mut UserSink::scatter(memory, &pieces));
        }
        let result = open.write(&mut UserSource::gather(memory, &pieces));
        raise_for(&thread, &result);
        result
    })
}

fn tee(call: &Call<'_>) -> Result<Outcome, Errno> {
    let flags = call.unsigned(3);
    let limit = call.size(2).min(MAXIMUM_TRANSFER);
    if flags & !SPLICE_KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    if limit == 0 {
        return Ok(Ok(0).into());
    }
    let (from, to) = (call.open_file(0)?, call.open_file(1)?);
    from.readable()?;
    to.writable()?;
    let thread = Arc::clone(call.thread);
    two_files(call, from, to, flags & SPLICE_NONBLOCK == 0, move |from, to| {
        let (Some(source), Some(sink)) = (pipe_of(from), pipe_of(to)) else {
            return Err(Errno::EINVAL);
        };
        let result = source.move_to(sink, limit, true);
        raise_for(&thread, &result);
        result
    })
}

/// Tries `attempt` until it does not say `EAGAIN`, sleeping until one of the two files changes.
fn two_files(
    call: &Call<'_>,
    from: Arc<OpenFile>,
    to: Arc<OpenFile>,
    blocking: bool,
    mut attempt: impl FnMut(&OpenFile, &OpenFile) -> Result<usize, Errno> + Send + 'static,
) -> Result<Outcome, Errno> {
    let first = attempt(&from, &to);
    // As in Linux, either file's own O_NONBLOCK counts only if it is the one that is not ready;
    // programs set both or none.
    let waits = blocking && !from.is_nonblocking() && !to.is_nonblocking();
    if !waits || !matches!(first, Err(Errno::EAGAIN)) {
        return Ok(first.into());
    }
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move {
        loop {
            let mut first = pin!(from.file().notifier().map(|notifier| notifier.wait()));
            let mut second = pin!(to.file().notifier().map(|notifier| notifier.wait()));
            match attempt(&from, &to) {
                Err(Errno::EAGAIN) => {}
                other => return other.map_err(Failure::Errno),
            }
            let either = core::future::poll_fn(|context| {
                for wait in [first.as_mut().as_pin_mut(), second.as_mut().as_pin_mut()] {
                    if wait.is_some_and(|wait| wait.poll(context).is_ready()) {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending
            });
            thread.interruptible(either, None, Restart::Automatic).await?;
        }
    }))
}

fn copy_file_range(call: &Call<'_>) -> Result<usize, Errno> {
    let (from, to) = (call.open_file(0)?, call.open_file(2)?);
    let (from_at, to_at) = (call.address(1), call.address(3));
    let (from_offset, to_offset) = (read_offset(call, from_at)?, read_offset(call, to_at)?);
    if call.unsigned(5) != 0 {
        return Err(Errno::EINVAL);
    }
    for open in [&from, &to] {
        match open.metadata()?.kind {
            FileType::Directory => return Err(Errno::EISDIR),
            FileType::Regular => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    from.readable()?;
    to.writable()?;
    if to.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF);
    }
    let length = call.size(4).min(MAXIMUM_TRANSFER);
    let source_at = from_offset.unwrap_or_else(|| from.with_offset(|offset| *offset));
    let target_at = to_offset.unwrap_or_else(|| to.with_offset(|offset| *offset));
    let same = match (from.inode(), to.inode()) {
        (Some(one), Some(other)) => one.id() == other.id(),
        _ => false,
    };
    if same && source_at.abs_diff(target_at) < length as u64 {
        return Err(Errno::EINVAL);
    }
    let mut source = FileSource::new(&**from.file(), source_at, length)?;
    let count = match source.remaining() {
        0 => 0,
        _ => raised(call.thread, to.write_at(target_at, &mut source))?,
    };
    from.was_read(count);
    call.thread.io.read(&Ok(count));
    call.thread.io.wrote(&Ok(count));
    for (open, at, offset) in [(&from, from_at, source_at), (&to, to_at, target_at)] {
        let end = offset + count as u64;
        if at.is_null() {
            open.with_offset(|offset| *offset = end);
        } else {
            call.memory().write(at, &end)?;
        }
    }
    Ok(count)
}
