//! Messages of netlink (netlink(7)): requests read, answers built.

use alloc::vec::Vec;
use base::Errno;

/// Types of messages that every family has, and flags.
pub(super) mod kind {
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
    /// The first of a family's own.
    pub(crate) const MIN: u16 = 16;
    pub(crate) const FLAG_REQUEST: u16 = 0x1;
    pub(crate) const FLAG_MULTI: u16 = 0x2;
    pub(crate) const FLAG_ACK: u16 = 0x4;
    pub(crate) const FLAG_DUMP: u16 = 0x300;
    /// The request is not repeated in the answer.
    pub(crate) const FLAG_CAPPED: u16 = 0x100;
}

pub(super) const HEADER_BYTES: usize = 16;
/// A reply is cut into datagrams of about this many bytes, as Linux does it.
const DATAGRAM_BYTES: usize = 3_500;

/// A message of the program.
pub(super) struct Request<'a> {
    pub(super) length: usize,
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// All of it, as an error repeats it.
    whole: &'a [u8],
    pub(super) family: u8,
    pub(super) index: u32,
}

impl<'a> Request<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: [u8; HEADER_BYTES] = *bytes.first_chunk()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let whole = bytes.get(..length).filter(|whole| whole.len() >= HEADER_BYTES)?;
        let body = whole.get(HEADER_BYTES..).unwrap_or_default();
        // Go sends a single byte of body: the family.
        let index = body.get(4..).and_then(|rest| rest.first_chunk());
        Some(Self {
            length,
            kind: u16::from_ne_bytes([e, f]),
            flags: u16::from_ne_bytes([g, h]),
            sequence: u32::from_ne_bytes([i, j, k, l]),
            whole,
            family: body.first().copied().unwrap_or(0),
            index: index.map_or(0, |bytes| u32::from_ne_bytes(*bytes)),
        })
    }

    /// What follows the header.
    pub(super) fn body(&self) -> &'a [u8] {
        self.whole.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Everything of a table is asked for.
    pub(super) fn is_dump(&self) -> bool {
        self.flags & kind::FLAG_DUMP != 0
    }
}

/// The value of the first attribute `number` in `bytes`.
pub(super) fn attribute(mut bytes: &[u8], number: u16) -> Option<&[u8]> {
    const KIND_MASK: u16 = 0x3fff;
    while let Some(([a, b, c, d], _)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_ne_bytes([*a, *b]));
        let value = bytes.get(4..length)?;
        if u16::from_ne_bytes([*c, *d]) & KIND_MASK == number {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// What there is to say after a request was answered.
pub(super) enum Answered {
    /// Nothing, unless it wants to be told that all went well.
    Request,
    /// That everything was told.
    Dump,
}

/// Messages on their way to the program.
pub(super) struct Reply {
    sequence: u32,
    port: u32,
    datagrams: Vec<Vec<u8>>,
    current: Vec<u8>,
}

impl Reply {
    pub(super) fn new(request: &Request<'_>, port: u32) -> Self {
        Self { sequence: request.sequence, port, datagrams: Vec::new(), current: Vec::new() }
    }

    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.current.is_empty() {
            self.datagrams.push(self.current);
        }
        self.datagrams
    }

    /// Adds a message: its body and attributes.
    pub(super) fn add(&mut self, kind: u16, flags: u16, body: &[u8], attributes: &[(u16, &[u8])]) {
        if self.current.len() > DATAGRAM_BYTES {
            self.datagrams.push(core::mem::take(&mut self.current));
        }
        let mut message = Vec::with_capacity(128);
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&self.port.to_ne_bytes());
        message.extend_from_slice(body);
        for (number, value) in attributes {
            message.resize(message.len().next_multiple_of(4), 0);
            message.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
            message.extend_from_slice(&number.to_ne_bytes());
            message.extend_from_slice(value);
        }
        // The padding of the last attribute counts: Go reads beyond it otherwise.
        message.resize(message.len().next_multiple_of(4), 0);
        let length = message.len() as u32;
        for (slot, byte) in message.iter_mut().zip(length.to_ne_bytes()) {
            *slot = byte;
        }
        self.current.extend_from_slice(&message);
    }

    /// The end of a dump.
    pub(super) fn done(&mut self) {
        self.cut();
        self.add(kind::DONE, kind::FLAG_MULTI, &[0; 4], &[]);
    }

    /// How it went (`struct nlmsgerr`): with the request, if it failed and `capped` is not asked for.
    pub(super) fn error(&mut self, errno: Option<Errno>, request: &Request<'_>, capped: bool) {
        self.cut();
        let number = errno.map_or(0, |errno| -i32::from(errno.number()));
        let capped = capped || errno.is_none();
        let (repeated, flags) = if capped {
            (request.whole.get(..HEADER_BYTES).unwrap_or_default(), kind::FLAG_CAPPED)
        } else {
            (request.whole, 0)
        };
        let body = [number.to_ne_bytes().as_slice(), repeated].concat();
        self.add(kind::ERROR, flags, &body, &[]);
    }

    /// What comes now goes into a datagram of its own, as on Linux.
    fn cut(&mut self) {
        if !self.current.is_empty() {
            self.datagrams.push(core::mem::take(&mut self.current));
        }
    }
}
