//! The picture in memory, and what of it the device has not been told of.

use crate::virtio::Error;
use alloc::vec::Vec;
use base::PhysAddr;
use base::display::{GROUP_PIXELS, Layout, Pairs, group};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Acquire};
use hal::dma::DmaRing;

/// Bytes of a piece of memory, all of whose addresses follow each other. Groups of pixels do not cross
/// their ends.
const PIECE_BYTES: usize = 256 * 1024;
/// Bytes of a pixel.
const PIXEL: u32 = 4;
/// Blue first.
const SHIFTS: [u8; 3] = [16, 8, 0];

/// A part of a picture: from and to, in pixels. The ends are outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Area {
    pub(super) left: u16,
    pub(super) top: u16,
    pub(super) right: u16,
    pub(super) bottom: u16,
}

impl Area {
    const NONE: Self = Self { left: u16::MAX, top: u16::MAX, right: 0, bottom: 0 };

    fn packed(self) -> u64 {
        let Self { left, top, right, bottom } = self;
        [left, top, right, bottom].iter().fold(0, |all, side| all << 16 | u64::from(*side))
    }

    fn unpacked(all: u64) -> Self {
        let [left, top, right, bottom] = [48, 32, 16, 0].map(|shift| (all >> shift) as u16);
        Self { left, top, right, bottom }
    }

    fn with(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

/// The width of a picture on a display of this one.
pub(super) fn whole_groups(width: u32) -> u32 {
    width / GROUP_PIXELS * GROUP_PIXELS
}

/// A picture. It is written to without a lock: by the console, by programs, and at last by a kernel that
/// fails.
pub(super) struct Picture {
    /// What the device calls it.
    number: u32,
    layout: Layout,
    pieces: Vec<DmaRing>,
    /// An [`Area`], in one word so that none of it is lost.
    changed: AtomicU64,
}

impl Picture {
    /// A black one, all of it changed. Its width is cut to whole groups of pixels. Sizes are below 65,536.
    pub(super) fn new(number: u32, (width, height): (u32, u32)) -> Result<Self, Error> {
        let width = whole_groups(width);
        let layout = Layout { width, height, pitch: width * PIXEL, shifts: SHIFTS };
        let mut left = layout.pitch as usize * height as usize;
        let mut pieces = Vec::new();
        while left > 0 {
            let bytes = left.min(PIECE_BYTES);
            pieces.push(DmaRing::new(bytes)?);
            left -= bytes;
        }
        let changed = AtomicU64::new(Area::NONE.packed());
        let picture = Self { number, layout, pieces, changed };
        picture.touch(0, 0, width, height);
        Ok(picture)
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Its pieces of memory: address and length.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (PhysAddr, u32)> {
        let bytes = self.layout.pitch * self.layout.height;
        let piece = PIECE_BYTES as u32;
        let lengths = (0..bytes).step_by(PIECE_BYTES).map(move |at| (bytes - at).min(piece));
        self.pieces.iter().map(DmaRing::physical).zip(lengths)
    }

    pub(super) fn put(&self, x: u32, y: u32, bits: &[u8], pairs: &[Pairs]) {
        let Layout { width, height, pitch, .. } = self.layout;
        if x >= width || y >= height {
            return;
        }
        let room = ((width - x) / GROUP_PIXELS) as usize;
        let mut offset = (y * pitch + x * PIXEL) as usize;
        let mut count = 0;
        for (bits, pairs) in bits.iter().zip(pairs).take(room) {
            if let Some(piece) = self.pieces.get(offset / PIECE_BYTES) {
                piece.write_words(offset % PIECE_BYTES, &group(*bits, pairs));
            }
            offset += (GROUP_PIXELS * PIXEL) as usize;
            count += GROUP_PIXELS;
        }
        self.touch(x, y, x + count, y + 1);
    }

    pub(super) fn store(&self, offset: u64, words: &[u64]) {
        const WORD: usize = size_of::<u64>();
        let Layout { width, height, pitch, .. } = self.layout;
        let bytes = u64::from(pitch) * u64::from(height);
        if offset >= bytes || words.is_empty() {
            return;
        }
        // Below 4 GiB, as the picture.
        let (mut at, mut rest) = (offset as usize, words);
        let end = (offset as usize).saturating_add(words.len() * WORD).min(bytes as usize);
        while let Some(piece) = self.pieces.get(at / PIECE_BYTES).filter(|_| !rest.is_empty()) {
            let inside = (PIECE_BYTES - at % PIECE_BYTES) / WORD;
            let (now, later) = rest.split_at(inside.clamp(1, rest.len()));
            piece.write_words(at % PIECE_BYTES, now);
            at += now.len() * WORD;
            rest = later;
        }
        let (first, last) = (offset as u32 / pitch, (end as u32 - 1) / pitch);
        if first == last {
            let column = |byte: u32| byte % pitch / PIXEL;
            self.touch(column(offset as u32), first, column(end as u32 - 1) + 1, first + 1);
        } else {
            self.touch(0, first, width, last + 1);
        }
    }

    /// This part has changed.
    fn touch(&self, left: u32, top: u32, right: u32, bottom: u32) {
        let [left, top, right, bottom] = [left, top, right, bottom].map(|side| side as u16);
        let area = Area { left, top, right, bottom };
        if left >= right {
            return;
        }
        let grown = |old: u64| {
            let new = Area::unpacked(old).with(area).packed();
            (new != old).then_some(new)
        };
        let _ = self.changed.fetch_update(AcqRel, Acquire, grown);
    }

    /// What has changed since the last call. `None`: nothing.
    pub(super) fn take_changed(&self) -> Option<Area> {
        let area = Area::unpacked(self.changed.swap(Area::NONE.packed(), AcqRel));
        (area.left < area.right && area.top < area.bottom).then_some(area)
    }

    pub(super) fn has_changed(&self) -> bool {
        self.changed.load(Acquire) != Area::NONE.packed()
    }
}
