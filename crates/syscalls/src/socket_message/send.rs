//! sendto, sendmsg, sendmmsg.

use super::{HEADER_BYTES, MESSAGES_MAX, MessageHeader, VECTOR_ENTRY_BYTES, flag, is_nonblocking};
use crate::call::{Call, Failure, Outcome, Restart};
use crate::files::{deadline_of, raise_for};
use crate::socket_address::{Address, Destination, STORAGE_BYTES, other_family};
use crate::socket_control::read_control;
use crate::socket_file::{Extra, Kind, SocketFile};
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, UserAddr};
use mm::{MAXIMUM_TRANSFER, Mm, Piece, UserSource};
use net::UnixKind;
use vfs::OpenFile;

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

/// Where a message is to go. Sockets that have their peer do not look at the address.
fn destination(
    thread: &Thread,
    socket: &SocketFile,
    at: UserAddr,
    length: u32,
) -> Result<Option<Destination>, Errno> {
    let address = Address::read(&thread.process.memory, at, length);
    match &socket.kind {
        Kind::Tcp(_) => match address {
            Err(errno) if errno == Errno::EFAULT || length > STORAGE_BYTES => Err(errno),
            _ => Ok(None),
        },
        Kind::Udp(_) | Kind::Raw(_)
            if matches!(address, Ok(Address::Unix(_) | Address::Netlink(..))) =>
        {
            Err(other_family(socket, length))
        }
        Kind::Unix(unix) if unix.kind() == UnixKind::Packets => address.map(|_| None),
        Kind::Unix(unix) if unix.kind() == UnixKind::Stream => {
            address?;
            Err(unix.peer_name().map_or(Errno::EOPNOTSUPP, |_| Errno::EISCONN))
        }
        _ => Destination::of(thread, address?).map(Some),
    }
}

pub(super) fn sendto(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    SocketFile::of(&open)?;
    let flags = call.unsigned(3);
    let to = if call.address(4).is_null() {
        None
    } else {
        destination(call.thread, SocketFile::of(&open)?, call.address(4), call.unsigned(5))?
    };
    let bytes = call.size(2).min(MAXIMUM_TRANSFER);
    let pieces = alloc::vec![Piece { address: call.address(1), bytes }];
    let urgent = flags & flag::OOB != 0;
    let mut extra = Extra::default();
    extra.options.more = flags & flag::MORE != 0;
    Ok(send(call, open, flags, Outgoing { pieces, to, extra, urgent }))
}

fn read_outgoing(
    thread: &Thread,
    socket: &SocketFile,
    at: UserAddr,
    flags: u32,
) -> Result<Outgoing, Errno> {
    let process = &*thread.process;
    let memory = &process.memory;
    let header: MessageHeader = memory.read(at)?;
    let to = if header.name == 0 || header.name_length == 0 {
        None
    } else {
        destination(thread, socket, UserAddr(header.name), header.name_length)?
    };
    let count = usize::try_from(header.piece_count).map_err(|_| Errno::EMSGSIZE)?;
    let pieces = memory.read_pieces(UserAddr(header.pieces), count)?;
    let control = UserAddr(header.control);
    let mut extra = read_control(process, socket, control, header.control_length)?;
    extra.options.more = flags & flag::MORE != 0;
    Ok(Outgoing { pieces, to, extra, urgent: flags & flag::OOB != 0 })
}

pub(super) fn sendmsg(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    let flags = call.unsigned(2);
    let message = read_outgoing(call.thread, SocketFile::of(&open)?, call.address(1), flags)?;
    Ok(send(call, open, flags, message))
}

pub(super) fn sendmmsg(call: &Call<'_>) -> Result<Outcome, Errno> {
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
    let message = read_outgoing(thread, SocketFile::of(open)?, at, flags)?;
    let silent = flags & flag::NOSIGNAL != 0;
    let sent = if nonblocking {
        message.attempt(&process.memory, open, 0)?
    } else {
        send_rest(thread, open, &message, 0, silent).await?
    };
    process.memory.write(at.wrapping_add(HEADER_BYTES), &(sent as u32))?;
    Ok(())
}
