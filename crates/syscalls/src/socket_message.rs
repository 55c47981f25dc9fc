//! Sending and receiving: sendto, recvfrom, sendmsg, recvmsg, sendmmsg, recvmmsg.

use crate::file_io::outcome;
use crate::table::{Row, partial};
use crate::trace::Argument::{self, Bytes, Fd, Flags, Hex, Int, Out, Size};
use abi::number as nr;
use vfs::OpenFile;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod receive;
mod send;

use receive::{recvfrom, recvmmsg, recvmsg};
use send::{sendmmsg, sendmsg, sendto};

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
    pub(crate) const MORE: u32 = 0x8000;
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

const SEND_NOTE: &str = "MSG_MORE has no effect on TCP, MSG_CONFIRM none at all";
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
