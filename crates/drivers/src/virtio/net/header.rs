//! The header in front of every frame (§5.1.6), 12 bytes in the modern interface.

use base::link::TransmitMeta;

/// Bytes of `struct virtio_net_hdr`.
pub(super) const HEADER_BYTES: usize = 12;
/// Destination, source, type.
pub(super) const ETHERNET_HEADER_BYTES: usize = 14;

/// The checksum field holds only the pseudo-header's sum: on receive, the frame never crossed a
/// wire.
const NEEDS_CHECKSUM: u8 = 1;
/// The device has checked the checksum.
const DATA_VALID: u8 = 2;

const SEGMENT_NONE: u8 = 0;
const SEGMENT_TCP4: u8 = 1;
const SEGMENT_TCP6: u8 = 4;

/// The header of a frame to be sent.
pub(super) fn encode(meta: TransmitMeta) -> [u8; HEADER_BYTES] {
    let mut flags = 0;
    let mut kind = SEGMENT_NONE;
    let mut header_length = 0;
    let mut segment = 0;
    let (mut start, mut offset) = (0, 0);
    if let Some(checksum) = meta.checksum {
        flags = NEEDS_CHECKSUM;
        (start, offset) = checksum;
        // Segmentation needs the checksum too (§5.1.6.2).
        if let Some(bytes) = meta.segment_size {
            kind = if meta.ipv6 { SEGMENT_TCP6 } else { SEGMENT_TCP4 };
            segment = bytes;
            header_length = meta.header_bytes;
        }
    }
    let [h0, h1] = u16::to_le_bytes(header_length);
    let [g0, g1] = u16::to_le_bytes(segment);
    let [s0, s1] = u16::to_le_bytes(start);
    let [o0, o1] = u16::to_le_bytes(offset);
    // The last two bytes are num_buffers, 0 on transmit.
    [flags, kind, h0, h1, g0, g1, s0, s1, o0, o1, 0, 0]
}

/// What matters in the header of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Received {
    /// The device vouches for the TCP/UDP checksum.
    pub(super) checksum_verified: bool,
    /// How many buffers the frame lies in.
    pub(super) buffers: u16,
}

/// The header of a received frame and the frame. `None` when the buffer is too short for a header.
pub(super) fn decode(buffer: &[u8]) -> Option<(Received, &[u8])> {
    let (header, frame) = buffer.split_first_chunk::<HEADER_BYTES>()?;
    let [flags, _, _, _, _, _, _, _, _, _, low, high] = *header;
    let received = Received {
        checksum_verified: flags & (NEEDS_CHECKSUM | DATA_VALID) != 0,
        buffers: u16::from_le_bytes([low, high]),
    };
    Some((received, frame))
}
