//! Reading and writing.

use crate::call::{Call, Outcome};
use crate::files::{raised, transfer, write_all};
use crate::table::{Row, full, partial};
use crate::trace::Argument::{Bytes, Fd, Flags, Hex, Int, Name, Out, Size};
use abi::number as nr;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use mm::{MAXIMUM_TRANSFER, Piece, UserSink, UserSource};
use vfs::{OpenFile, Whence};

const WHENCE: &[(u64, &str)] =
    &[(0, "SEEK_SET"), (1, "SEEK_CUR"), (2, "SEEK_END"), (3, "SEEK_DATA"), (4, "SEEK_HOLE")];

const RWF_FLAGS: &[(u64, &str)] = &[
    (1, "RWF_HIPRI"),
    (2, "RWF_DSYNC"),
    (4, "RWF_SYNC"),
    (8, "RWF_NOWAIT"),
    (16, "RWF_APPEND"),
    (32, "RWF_NOAPPEND"),
];

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::READ, "read", &[Fd, Out, Size], |call| outcome(call, read)),
    full(nr::WRITE, "write", &[Fd, Bytes, Size], |call| outcome(call, write)),
    full(nr::READV, "readv", &[Fd, Hex, Int], |call| outcome(call, readv)),
    full(nr::WRITEV, "writev", &[Fd, Hex, Int], |call| outcome(call, writev)),
    full(nr::PREAD64, "pread64", &[Fd, Out, Size, Int], |call| read_over(call, pread64(call))),
    full(nr::PWRITE64, "pwrite64", &[Fd, Bytes, Size, Int], |call| {
        write_over(call, pwrite64(call))
    }),
    full(nr::PREADV, "preadv", &[Fd, Hex, Int, Int], |call| read_over(call, preadv(call))),
    full(nr::PWRITEV, "pwritev", &[Fd, Hex, Int, Int], |call| write_over(call, pwritev(call))),
    partial(
        nr::PREADV2,
        "preadv2",
        &[Fd, Hex, Int, Int, Int, Flags(RWF_FLAGS)],
        "RWF_HIPRI, RWF_DSYNC and RWF_SYNC have nothing to do; RWF_DONTCACHE and RWF_ATOMIC are EOPNOTSUPP",
        |call| outcome(call, preadv2),
    ),
    partial(
        nr::PWRITEV2,
        "pwritev2",
        &[Fd, Hex, Int, Int, Int, Flags(RWF_FLAGS)],
        "as preadv2",
        |call| outcome(call, pwritev2),
    ),
    full(nr::LSEEK, "lseek", &[Fd, Int, Name(WHENCE)], |call| lseek(call).into()),
];

/// Runs a handler that may wait.
pub(crate) fn outcome(
    call: &Call<'_>,
    handler: fn(&Call<'_>) -> Result<Outcome, Errno>,
) -> Outcome {
    handler(call).unwrap_or_else(Into::into)
}

fn read_over(call: &Call<'_>, result: Result<usize, Errno>) -> Outcome {
    call.thread.io.read(&result);
    result.into()
}

fn write_over(call: &Call<'_>, result: Result<usize, Errno>) -> Outcome {
    call.thread.io.wrote(&result);
    result.into()
}

/// A length that fits one transfer; Linux cuts longer ones.
fn transfer_length(call: &Call<'_>, index: usize) -> Result<usize, Errno> {
    if call.long(index).cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(call.size(index).min(MAXIMUM_TRANSFER))
}

/// Linux looks at the whole range before anything else (`access_ok`).
fn check_range(call: &Call<'_>, address: usize, length: usize) -> Result<(), Errno> {
    let end = call.address(address).checked_add(call.long(length)).ok_or(Errno::EFAULT)?;
    if end.0 > base::address::USER_END { Err(Errno::EFAULT) } else { Ok(()) }
}

fn read(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    open.readable()?;
    check_range(call, 1, 2)?;
    let (address, length) = (call.address(1), transfer_length(call, 2)?);
    Ok(transfer(call, open, false, move |memory, open| {
        open.read(&mut UserSink::new(memory, address, length))
    }))
}

fn write(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    open.writable()?;
    check_range(call, 1, 2)?;
    let (address, length) = (call.address(1), transfer_length(call, 2)?);
    Ok(write_all(call, open, length, move |memory, open, done| {
        let from = address.wrapping_add(done as u64);
        open.write(&mut UserSource::new(memory, from, length.saturating_sub(done)))
    }))
}

fn pieces(call: &Call<'_>) -> Result<Vec<Piece>, Errno> {
    let count = usize::try_from(call.long(2)).map_err(|_| Errno::EINVAL)?;
    let pieces = call.memory().read_pieces(call.address(1), count)?;
    let total = pieces.iter().try_fold(0_usize, |sum, piece| sum.checked_add(piece.bytes));
    match total {
        Some(total) if i64::try_from(total).is_ok() => Ok(pieces),
        _ => Err(Errno::EINVAL),
    }
}

fn total(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.bytes).sum::<usize>().min(MAXIMUM_TRANSFER)
}

/// The pieces without their first `done` bytes.
pub(crate) fn without_first(pieces: &[Piece], mut done: usize) -> Vec<Piece> {
    let mut rest = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let skip = done.min(piece.bytes);
        done -= skip;
        if skip < piece.bytes {
            let address = piece.address.wrapping_add(skip as u64);
            rest.push(Piece { address, bytes: piece.bytes - skip });
        }
    }
    rest
}

fn readv(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    open.readable()?;
    let pieces = pieces(call)?;
    Ok(transfer(call, open, false, move |memory, open| {
        open.read(&mut UserSink::scatter(memory, &pieces))
    }))
}

fn writev(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    open.writable()?;
    let pieces = pieces(call)?;
    Ok(writev_pieces(call, open, pieces))
}

fn writev_pieces(call: &Call<'_>, open: Arc<OpenFile>, pieces: Vec<Piece>) -> Outcome {
    let length = total(&pieces);
    write_all(call, open, length, move |memory, open, done| {
        if done == 0 {
            return open.write(&mut UserSource::gather(memory, &pieces));
        }
        open.write(&mut UserSource::gather(memory, &without_first(&pieces, done)))
    })
}

/// The offset argument of pread64 and kin.
fn offset(call: &Call<'_>, index: usize) -> Result<u64, Errno> {
    u64::try_from(call.long(index).cast_signed()).map_err(|_| Errno::EINVAL)
}

fn pread64(call: &Call<'_>) -> Result<usize, Errno> {
    let offset = offset(call, 3)?;
    let open = call.open_file(0)?;
    let length = transfer_length(call, 2)?;
    open.read_at(offset, &mut UserSink::new(call.memory(), call.address(1), length))
}

fn pwrite64(call: &Call<'_>) -> Result<usize, Errno> {
    let offset = offset(call, 3)?;
    let open = call.open_file(0)?;
    let length = transfer_length(call, 2)?;
    let mut source = UserSource::new(call.memory(), call.address(1), length);
    raised(call.thread, open.write_at(offset, &mut source))
}

fn preadv(call: &Call<'_>) -> Result<usize, Errno> {
    let offset = offset(call, 3)?;
    let open = call.open_file(0)?;
    let pieces = pieces(call)?;
    open.read_at(offset, &mut UserSink::scatter(call.memory(), &pieces))
}

fn pwritev(call: &Call<'_>) -> Result<usize, Errno> {
    let offset = offset(call, 3)?;
    let open = call.open_file(0)?;
    let pieces = pieces(call)?;
    let mut source = UserSource::gather(call.memory(), &pieces);
    raised(call.thread, open.write_at(offset, &mut source))
}

/// Flags of preadv2 and pwritev2.
mod rwf {
    pub(super) const NOWAIT: u32 = 8;
    pub(super) const APPEND: u32 = 16;
    pub(super) const NO_APPEND: u32 = 32;
    pub(super) const KNOWN: u32 = 63;
}

/// An offset of -1 means the file's own.
fn uses_own_offset(call: &Call<'_>) -> bool {
    call.long(3).cast_signed() == -1
}

fn preadv2(call: &Call<'_>) -> Result<Outcome, Errno> {
    let flags = call.unsigned(5);
    if flags & !rwf::KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if !uses_own_offset(call) {
        return Ok(read_over(call, preadv(call)));
    }
    if flags & rwf::NOWAIT != 0 {
        let (open, pieces) = (call.open_file(0)?, pieces(call)?);
        let count = open.read(&mut UserSink::scatter(call.memory(), &pieces));
        return Ok(read_over(call, count));
    }
    readv(call)
}

fn pwritev2(call: &Call<'_>) -> Result<Outcome, Errno> {
    let flags = call.unsigned(5);
    if flags & !rwf::KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags & (rwf::APPEND | rwf::NO_APPEND) == rwf::APPEND | rwf::NO_APPEND {
        return Err(Errno::EINVAL);
    }
    if flags & rwf::NO_APPEND != 0 && !uses_own_offset(call) {
        let (offset, open, pieces) = (offset(call, 3)?, call.open_file(0)?, pieces(call)?);
        let file = open.writable()?;
        let written = file.write(offset, &mut UserSource::gather(call.memory(), &pieces));
        return Ok(write_over(call, raised(call.thread, written)));
    }
    if flags & rwf::APPEND != 0 {
        let open = call.open_file(0)?;
        let pieces = pieces(call)?;
        let file = open.writable()?;
        let written = file.append(&mut UserSource::gather(call.memory(), &pieces));
        let written = raised(call.thread, written).map(|written| written.0);
        return Ok(write_over(call, written));
    }
    if !uses_own_offset(call) {
        return Ok(write_over(call, pwritev(call)));
    }
    if flags & rwf::NOWAIT != 0 {
        let (open, pieces) = (call.open_file(0)?, pieces(call)?);
        let written = open.write(&mut UserSource::gather(call.memory(), &pieces));
        return Ok(write_over(call, raised(call.thread, written)));
    }
    writev(call)
}

fn lseek(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let whence = Whence::decode(call.unsigned(2)).ok_or(Errno::EINVAL)?;
    let offset = open.seek(whence, call.long(1).cast_signed())?;
    usize::try_from(offset).map_err(|_| Errno::EOVERFLOW)
}
