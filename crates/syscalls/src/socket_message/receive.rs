//! recvfrom, recvmsg, recvmmsg.

use super::{HEADER_BYTES, MESSAGES_MAX, MessageHeader, VECTOR_ENTRY_BYTES, flag, is_nonblocking};
use crate::call::{Call, Failure, Outcome, Restart};
use crate::files::deadline_of;
use crate::process::Process;
use crate::socket_control::write_control;
use crate::socket_file::{Incoming, Kind, SocketFile};
use crate::thread::Thread;
use abi::time::Timespec;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::io::Sink;
use base::{Errno, Instant, UserAddr};
use core::time::Duration;
use mm::{MAXIMUM_TRANSFER, Mm, Piece, UserSink};
use vfs::OpenFile;

/// Where a received message goes.
struct Wanted {
    pieces: Vec<Piece>,
    flags: u32,
    /// Room for the address, and where its length goes.
    name: Option<(UserAddr, NameLength)>,
    /// The header to complete (recvmsg).
    header: Option<(UserAddr, MessageHeader)>,
}

/// A sink that keeps nothing.
struct Discard {
    room: usize,
}

impl Sink for Discard {
    fn room(&self) -> usize {
        self.room
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        Ok(self.put_present(bytes))
    }

    fn put_present(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room);
        self.room -= count;
        count
    }

    fn resume(&mut self) -> Result<bool, Errno> {
        Ok(false)
    }
}

enum NameLength {
    /// An `int` in memory tells the room and gets the length (recvfrom).
    At(UserAddr),
    /// A field of the header (recvmsg).
    Room(usize),
}

impl Wanted {
    fn of_header(memory: &Mm, at: UserAddr, flags: u32) -> Result<Self, Errno> {
        let header: MessageHeader = memory.read(at)?;
        let count = usize::try_from(header.piece_count).map_err(|_| Errno::EMSGSIZE)?;
        let pieces = memory.read_pieces(UserAddr(header.pieces), count)?;
        let room = usize::try_from(header.name_length.cast_signed()).map_err(|_| Errno::EINVAL)?;
        let name = (header.name != 0).then_some((UserAddr(header.name), NameLength::Room(room)));
        Ok(Self { pieces, flags, name, header: Some((at, header)) })
    }

    fn total(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes).sum::<usize>().min(MAXIMUM_TRANSFER)
    }

    fn attempt(&self, process: &Process, open: &OpenFile, done: usize) -> Result<usize, Errno> {
        let socket = SocketFile::of(open)?;
        let rest;
        let pieces = if done == 0 {
            &self.pieces
        } else {
            rest = crate::file_io::without_first(&self.pieces, done);
            &rest
        };
        let sink = &mut UserSink::scatter(&process.memory, pieces);
        let peek = self.flags & flag::PEEK != 0;
        let incoming = match self.flags & (flag::ERRQUEUE | flag::OOB | flag::TRUNC) {
            0 => socket.receive(sink, peek)?,
            _ => self.receive_apart(socket, sink, peek)?,
        };
        self.complete(process, socket, &incoming)?;
        let whole = self.flags & flag::TRUNC != 0 && !socket.is_stream();
        let whole = whole && incoming.failure.is_none();
        Ok(if whole { incoming.length } else { incoming.stored })
    }

    /// Receives what is not read as ever.
    #[cold]
    #[inline(never)]
    fn receive_apart(
        &self,
        socket: &SocketFile,
        sink: &mut dyn Sink,
        peek: bool,
    ) -> Result<Incoming, Errno> {
        if self.flags & flag::ERRQUEUE != 0 {
            return socket.receive_failure(sink);
        }
        if self.flags & flag::OOB != 0 {
            return socket.receive_urgent(sink, peek);
        }
        if matches!(socket.kind, Kind::Tcp(_)) {
            // TCP throws the bytes away, and looks at no address (tcp(7)).
            return socket.receive(&mut Discard { room: sink.room() }, peek);
        }
        socket.receive(sink, peek)
    }

    /// Writes what goes beside the bytes.
    fn complete(
        &self,
        process: &Process,
        socket: &SocketFile,
        incoming: &Incoming,
    ) -> Result<(), Errno> {
        let memory = &process.memory;
        let mut name_length = 0;
        match (&self.name, &incoming.from) {
            (Some((at, NameLength::At(length_at))), Some(from)) => {
                from.write(memory, *at, *length_at)?;
            }
            (Some((at, NameLength::Room(room))), Some(from)) => {
                name_length = from.write_within(memory, *at, *room)?;
            }
            // A stream says nothing of who sent.
            (Some((_, NameLength::At(length_at))), None) => memory.write(*length_at, &0_u32)?,
            _ => {}
        }
        let Some((at, header)) = &self.header else { return Ok(()) };
        let mut flags = self.flags & flag::CMSG_CLOEXEC;
        if incoming.stored < incoming.length {
            flags |= flag::TRUNC;
        }
        if incoming.failure.is_some() {
            flags |= flag::ERRQUEUE;
        }
        if incoming.urgent {
            flags |= flag::OOB;
        }
        let control = (UserAddr(header.control), header.control_length);
        let cloexec = self.flags & flag::CMSG_CLOEXEC != 0;
        let written = write_control(process, socket, incoming, control, cloexec)?;
        if written.truncated {
            flags |= flag::CTRUNC;
        }
        let done = MessageHeader {
            name_length: if header.name == 0 { header.name_length } else { name_length },
            control_length: written.bytes,
            flags,
            ..*header
        };
        memory.write(*at, &done)
    }
}

fn receive(call: &Call<'_>, open: Arc<OpenFile>, wanted: Wanted) -> Result<Outcome, Errno> {
    let all = wanted.flags & (flag::WAITALL | flag::PEEK | flag::OOB) == flag::WAITALL
        && SocketFile::of(&open)?.is_stream();
    let total = wanted.total();
    // Nobody waits for what goes wrong, or is urgent.
    let apart = flag::ERRQUEUE | flag::OOB;
    let nonblocking = is_nonblocking(&open, wanted.flags) || wanted.flags & apart != 0;
    let first = wanted.attempt(call.process(), &open, 0);
    let done = match first {
        Err(Errno::EAGAIN) if !nonblocking => 0,
        Ok(count) if all && !nonblocking && count > 0 && count < total => count,
        other => return Ok(other.into()),
    };
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move { receive_rest(&thread, &open, &wanted, done, all).await }))
}

async fn receive_rest(
    thread: &Thread,
    open: &OpenFile,
    wanted: &Wanted,
    mut done: usize,
    all: bool,
) -> Result<usize, Failure> {
    let deadline = deadline_of(open, false);
    let notifier = open.file().notifier().ok_or(Errno::EAGAIN)?;
    loop {
        let step = thread
            .retry(notifier, deadline, Restart::Automatic, || {
                wanted.attempt(&thread.process, open, done)
            })
            .await;
        match step {
            Ok(0) => return Ok(done),
            Ok(count) => done += count,
            Err(_) if done > 0 => return Ok(done),
            Err(failure) => return Err(failure),
        }
        if !all || done >= wanted.total() {
            return Ok(done);
        }
    }
}

pub(super) fn recvfrom(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    SocketFile::of(&open)?;
    let flags = call.unsigned(3);
    let bytes = call.size(2).min(MAXIMUM_TRANSFER);
    let name = call.address(4);
    let name = (!name.is_null()).then_some((name, NameLength::At(call.address(5))));
    let pieces = alloc::vec![Piece { address: call.address(1), bytes }];
    receive(call, open, Wanted { pieces, flags, name, header: None })
}

pub(super) fn recvmsg(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    SocketFile::of(&open)?;
    let flags = call.unsigned(2);
    let wanted = Wanted::of_header(call.memory(), call.address(1), flags)?;
    receive(call, open, wanted)
}

pub(super) fn recvmmsg(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    SocketFile::of(&open)?;
    let flags = call.unsigned(3);
    let count = call.unsigned(2).min(MESSAGES_MAX);
    let vector = call.address(1);
    let limit = call.address(4);
    let timeout = if limit.is_null() {
        None
    } else {
        let limit: Timespec = call.memory().read(limit)?;
        Some(limit.duration()?)
    };
    // What is there is taken at once.
    let mut done = 0;
    let mut last = Errno::EAGAIN;
    while done < count {
        match receive_one(call.process(), &open, flags, vector, done) {
            Ok(()) => done += 1,
            Err(errno) => {
                last = errno;
                break;
            }
        }
    }
    let enough = done > 0 && (flags & flag::WAITFORONE != 0 || done == count);
    let waits = last == Errno::EAGAIN && !is_nonblocking(&open, flags);
    if enough || !waits || count == 0 {
        let nothing = done == 0 && count > 0;
        return Ok(if nothing { last.into() } else { Ok(done as usize).into() });
    }
    let thread = Arc::clone(call.thread);
    let wait = Vector { at: vector, count, flags, timeout };
    Ok(Outcome::wait(async move { receive_vector(&thread, &open, &wait, done).await }))
}

struct Vector {
    at: UserAddr,
    count: u32,
    flags: u32,
    timeout: Option<Duration>,
}

async fn receive_vector(
    thread: &Thread,
    open: &OpenFile,
    vector: &Vector,
    mut done: u32,
) -> Result<usize, Failure> {
    let started: Instant = hal::clock::now();
    let deadline = vector.timeout.map(|timeout| started + timeout).or(deadline_of(open, false));
    let notifier = open.file().notifier().ok_or(Errno::EAGAIN)?;
    while done < vector.count {
        let step = thread
            .retry(notifier, deadline, Restart::Automatic, || {
                receive_one(&thread.process, open, vector.flags, vector.at, done)
            })
            .await;
        match step {
            Ok(()) => done += 1,
            Err(failure) if done == 0 => return Err(failure),
            Err(_) => break,
        }
        if vector.flags & flag::WAITFORONE != 0 {
            while done < vector.count
                && receive_one(&thread.process, open, vector.flags, vector.at, done).is_ok()
            {
                done += 1;
            }
            break;
        }
    }
    Ok(done as usize)
}

fn receive_one(
    process: &Process,
    open: &OpenFile,
    flags: u32,
    vector: UserAddr,
    index: u32,
) -> Result<(), Errno> {
    let at = vector.wrapping_add(u64::from(index) * VECTOR_ENTRY_BYTES);
    let wanted = Wanted::of_header(&process.memory, at, flags & !flag::WAITFORONE)?;
    let count = wanted.attempt(process, open, 0)?;
    process.memory.write(at.wrapping_add(HEADER_BYTES), &(count as u32))
}
