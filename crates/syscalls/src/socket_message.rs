//! Sending and receiving: sendto, recvfrom, sendmsg, recvmsg, sendmmsg, recvmmsg.

use crate::call::{Call, Failure, Outcome, Restart};
use crate::file_io::outcome;
use crate::files::{deadline_of, raise_for};
use crate::process::Process;
use crate::socket_address::{Address, Destination};
use crate::socket_control::{read_control, write_control};
use crate::socket_file::{Extra, Incoming, Kind, SocketFile};
use crate::table::{Row, partial};
use crate::thread::Thread;
use crate::trace::Argument::{self, Bytes, Fd, Flags, Hex, Int, Out, Size};
use abi::number as nr;
use abi::time::Timespec;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::io::Sink;
use base::{Errno, Instant, UserAddr};
use core::time::Duration;
use mm::{MAXIMUM_TRANSFER, Mm, Piece, UserSink, UserSource};
use vfs::OpenFile;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Flags of the calls, and of received messages.
pub(crate) mod flag {
    pub(crate) const OOB: u32 = 0x1;
    pub(crate) const PEEK: u32 = 0x2;
    pub(crate) const CTRUNC: u32 = 0x8;
    pub(crate) const TRUNC: u32 = 0x20;
    pub(crate) const DONTWAIT: u32 = 0x40;
    pub(crate) const WAITALL: u32 = 0x100;
    pub(crate) const ERRQUEUE: u32 = 0x2000;
    pub(crate) const NOSIGNAL: u32 = 0x4000;
    pub(crate) const WAITFORONE: u32 = 0x1_0000;
    pub(crate) const CMSG_CLOEXEC: u32 = 0x4000_0000;
}

const MSG: Argument = Flags(&[
    (0x1, "MSG_OOB"),
    (0x2, "MSG_PEEK"),
    (0x20, "MSG_TRUNC"),
    (0x40, "MSG_DONTWAIT"),
    (0x100, "MSG_WAITALL"),
    (0x2000, "MSG_ERRQUEUE"),
    (0x4000, "MSG_NOSIGNAL"),
    (0x8000, "MSG_MORE"),
    (0x4000_0000, "MSG_CMSG_CLOEXEC"),
]);

const SEND_NOTE: &str = "MSG_MORE and MSG_CONFIRM have no effect";
const RECEIVE_NOTE: &str = "MSG_ERRQUEUE tells of UDP only";

/// The calls of this family.
pub const ROWS: &[Row] = &[
    partial(nr::SENDTO, "sendto", &[Fd, Bytes, Size, MSG, Hex, Int], SEND_NOTE, |call| {
        outcome(call, sendto)
    }),
    partial(nr::RECVFROM, "recvfrom", &[Fd, Out, Size, MSG, Hex, Hex], RECEIVE_NOTE, |call| {
        outcome(call, recvfrom)
    }),
    partial(nr::SENDMSG, "sendmsg", &[Fd, Hex, MSG], SEND_NOTE, |call| outcome(call, sendmsg)),
    partial(nr::RECVMSG, "recvmsg", &[Fd, Hex, MSG], RECEIVE_NOTE, |call| outcome(call, recvmsg)),
    partial(nr::SENDMMSG, "sendmmsg", &[Fd, Hex, Int, MSG], SEND_NOTE, |call| {
        outcome(call, sendmmsg)
    }),
    partial(nr::RECVMMSG, "recvmmsg", &[Fd, Hex, Int, MSG, Hex], RECEIVE_NOTE, |call| {
        outcome(call, recvmmsg)
    }),
];

/// `struct msghdr`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MessageHeader {
    name: u64,
    name_length: u32,
    padding: u32,
    pieces: u64,
    piece_count: u64,
    control: u64,
    control_length: u64,
    flags: u32,
    tail: u32,
}

/// Bytes of a `struct msghdr`, and of a `struct mmsghdr`.
const HEADER_BYTES: u64 = 56;
const VECTOR_ENTRY_BYTES: u64 = 64;
/// Most messages of one sendmmsg or recvmmsg (`UIO_MAXIOV`).
const MESSAGES_MAX: u32 = 1024;

fn is_nonblocking(open: &OpenFile, flags: u32) -> bool {
    open.is_nonblocking() || flags & flag::DONTWAIT != 0
}

/// A message on its way out.
struct Outgoing {
    pieces: Vec<Piece>,
    to: Option<Destination>,
    extra: Extra,
    /// The last byte is urgent (`MSG_OOB`).
    urgent: bool,
}

impl Outgoing {
    fn total(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes).sum::<usize>().min(MAXIMUM_TRANSFER)
    }

    fn attempt(&self, memory: &Mm, open: &OpenFile, done: usize) -> Result<usize, Errno> {
        let socket = SocketFile::of(open)?;
        if self.urgent {
            return self.attempt_urgent(memory, socket, done);
        }
        if done == 0 {
            let source = &mut UserSource::gather(memory, &self.pieces);
            return socket.send(source, self.to.as_ref(), &self.extra);
        }
        let rest = crate::file_io::without_first(&self.pieces, done);
        socket.send(&mut UserSource::gather(memory, &rest), None, &Extra::default())
    }
}

impl Outgoing {
    /// All but the last byte as ever, and then that.
    #[cold]
    #[inline(never)]
    fn attempt_urgent(
        &self,
        memory: &Mm,
        socket: &SocketFile,
        done: usize,
    ) -> Result<usize, Errno> {
        if !socket.is_stream() || self.total() == 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut rest = crate::file_io::without_first(&self.pieces, done);
        let last = loop {
            let piece = rest.last_mut().ok_or(Errno::EINVAL)?;
            if piece.bytes > 0 {
                piece.bytes -= 1;
                break piece.address.wrapping_add(piece.bytes as u64);
            }
            rest.pop();
        };
        let before: usize = rest.iter().map(|piece| piece.bytes).sum();
        let mut sent = 0;
        if before > 0 {
            let none = Extra::default();
            let extra = if done == 0 { &self.extra } else { &none };
            sent = socket.send(&mut UserSource::gather(memory, &rest), None, extra)?;
            if sent < before {
                return Ok(sent);
            }
        } else if done == 0 && !self.extra.rights.is_empty() {
            // Open files go with bytes of the stream.
            return Err(Errno::EINVAL);
        }
        let byte = memory.read::<u8>(last);
        match byte.and_then(|byte| socket.send_urgent(byte)) {
            Err(_) if sent > 0 => Ok(sent),
            result => result.map(|count| sent + count),
        }
    }
}

/// Sends a message, sleeping until all of it is taken.
fn send(call: &Call<'_>, open: Arc<OpenFile>, flags: u32, message: Outgoing) -> Outcome {
    let silent = flags & flag::NOSIGNAL != 0;
    let total = message.total();
    let first = message.attempt(call.memory(), &open, 0);
    if !silent {
        raise_for(call.thread, &first);
    }
    let done = match first {
        Ok(done) if done < total => done,
        Err(Errno::EAGAIN) => 0,
        other => return other.into(),
    };
    if is_nonblocking(&open, flags) {
        return if done > 0 { Ok(done).into() } else { first.into() };
    }
    let thread = Arc::clone(call.thread);
    Outcome::wait(async move { send_rest(&thread, &open, &message, done, silent).await })
}

async fn send_rest(
    thread: &Thread,
    open: &OpenFile,
    message: &Outgoing,
    mut done: usize,
    silent: bool,
) -> Result<usize, Failure> {
    let deadline = deadline_of(open, true);
    let notifier = open.file().notifier().ok_or(Errno::EAGAIN)?;
    let total = message.total();
    loop {
        let step = thread
            .retry(notifier, deadline, Restart::Automatic, || {
                message.attempt(&thread.process.memory, open, done)
            })
            .await;
        match step {
            Ok(count) => done += count,
            Err(failure) => {
                if let (Failure::Errno(errno), false) = (failure, silent) {
                    raise_for::<()>(thread, &Err(errno));
                }
                return if done == 0 { Err(failure) } else { Ok(done) };
            }
        }
        if done >= total {
            return Ok(done);
        }
    }
}

fn sendto(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    SocketFile::of(&open)?;
    let flags = call.unsigned(3);
    let to = if call.address(4).is_null() {
        None
    } else {
        let address = Address::read(call.memory(), call.address(4), call.unsigned(5))?;
        Some(Destination::of(call.process(), address)?)
    };
    let bytes = call.size(2).min(MAXIMUM_TRANSFER);
    let pieces = alloc::vec![Piece { address: call.address(1), bytes }];
    let urgent = flags & flag::OOB != 0;
    Ok(send(call, open, flags, Outgoing { pieces, to, extra: Extra::default(), urgent }))
}

fn read_outgoing(
    process: &Process,
    socket: &SocketFile,
    at: UserAddr,
    flags: u32,
) -> Result<Outgoing, Errno> {
    let memory = &process.memory;
    let header: MessageHeader = memory.read(at)?;
    let to = if header.name == 0 || header.name_length == 0 {
        None
    } else {
        let address = Address::read(memory, UserAddr(header.name), header.name_length)?;
        Some(Destination::of(process, address)?)
    };
    let count = usize::try_from(header.piece_count).map_err(|_| Errno::EMSGSIZE)?;
    let pieces = memory.read_pieces(UserAddr(header.pieces), count)?;
    let extra = read_control(process, socket, UserAddr(header.control), header.control_length)?;
    Ok(Outgoing { pieces, to, extra, urgent: flags & flag::OOB != 0 })
}

fn sendmsg(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    let flags = call.unsigned(2);
    let message = read_outgoing(call.process(), SocketFile::of(&open)?, call.address(1), flags)?;
    Ok(send(call, open, flags, message))
}

fn sendmmsg(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    SocketFile::of(&open)?;
    let flags = call.unsigned(3);
    let count = call.unsigned(2).min(MESSAGES_MAX);
    let vector = call.address(1);
    let thread = Arc::clone(call.thread);
    let nonblocking = is_nonblocking(&open, flags);
    Ok(Outcome::wait(async move {
        let mut done = 0;
        for index in 0..count {
            let at = vector.wrapping_add(u64::from(index) * VECTOR_ENTRY_BYTES);
            match send_one(&thread, &open, flags, nonblocking, at).await {
                Ok(()) => done += 1,
                Err(failure) if done == 0 => return Err(failure),
                Err(_) => break,
            }
        }
        Ok(done)
    }))
}

async fn send_one(
    thread: &Thread,
    open: &OpenFile,
    flags: u32,
    nonblocking: bool,
    at: UserAddr,
) -> Result<(), Failure> {
    let process = &thread.process;
    let message = read_outgoing(process, SocketFile::of(open)?, at, flags)?;
    let silent = flags & flag::NOSIGNAL != 0;
    let sent = if nonblocking {
        message.attempt(&process.memory, open, 0)?
    } else {
        send_rest(thread, open, &message, 0, silent).await?
    };
    process.memory.write(at.wrapping_add(HEADER_BYTES), &(sent as u32))?;
    Ok(())
}

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

fn recvfrom(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    SocketFile::of(&open)?;
    let flags = call.unsigned(3);
    let bytes = call.size(2).min(MAXIMUM_TRANSFER);
    let name = call.address(4);
    let name = (!name.is_null()).then_some((name, NameLength::At(call.address(5))));
    let pieces = alloc::vec![Piece { address: call.address(1), bytes }];
    receive(call, open, Wanted { pieces, flags, name, header: None })
}

fn recvmsg(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    SocketFile::of(&open)?;
    let flags = call.unsigned(2);
    let wanted = Wanted::of_header(call.memory(), call.address(1), flags)?;
    receive(call, open, wanted)
}

fn recvmmsg(call: &Call<'_>) -> Result<Outcome, Errno> {
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
