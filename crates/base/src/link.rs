//! The port between the network stack and whatever moves Ethernet frames: a driver, or a
//! simulated wire.

/// What the device said about a received frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveMeta {
    /// The device vouches for the TCP/UDP checksum.
    pub checksum_verified: bool,
}

/// What the device is asked to do with a frame on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransmitMeta {
    /// Where the device must fill in a checksum: (start of the data summed, offset of the 16-bit
    /// field from there), both in bytes; the field holds the pseudo-header's sum.
    pub checksum: Option<(u16, u16)>,
    /// Cut the TCP payload into segments of this many bytes (virtio's `gso_size`).
    pub segment_size: Option<u16>,
    /// Bytes of all headers before the TCP payload; needed with `segment_size`.
    pub header_bytes: u16,
    /// The frame is IPv6 (else IPv4); needed with `segment_size`.
    pub ipv6: bool,
}

/// What a device can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCapabilities {
    /// Largest IP packet, in bytes (1500 on Ethernet).
    pub mtu: usize,
    /// It computes TCP and UDP checksums of outgoing frames.
    pub transmit_checksum: bool,
    /// It cuts TCP segments over IPv4: frames of up to 65,549 bytes, the largest IP packet and the
    /// Ethernet header.
    pub segmentation_ipv4: bool,
    /// It cuts TCP segments over IPv6.
    pub segmentation_ipv6: bool,
}

/// An Ethernet device. All calls return at once.
pub trait NetDevice: Send {
    /// The hardware address.
    fn mac(&self) -> [u8; 6];

    /// What it can do.
    fn capabilities(&self) -> LinkCapabilities;

    /// Hands the next received frame to `take`; `false` when there is none.
    fn receive(&mut self, take: &mut dyn FnMut(&[u8], ReceiveMeta)) -> bool;

    /// True when [`NetDevice::transmit`] would find room. After `false` the device's interrupt
    /// comes when there is some, without being asked for.
    fn can_transmit(&mut self) -> bool;

    /// Sends a frame of `bytes` bytes that `fill` writes (it gets exactly that many, zeroed or
    /// not); `false`, without calling `fill`, when there is no room.
    fn transmit(
        &mut self,
        bytes: usize,
        meta: TransmitMeta,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> bool;

    /// Tells the device about what was queued since the last call. One call after a burst.
    fn flush(&mut self);

    /// Asks for an interrupt on the next received frame. Returns true when frames came in
    /// meanwhile, or room to send after there was none: then look again before sleeping.
    fn enable_interrupt(&mut self) -> bool;
}
