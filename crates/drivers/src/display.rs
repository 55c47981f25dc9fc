//! Pictures on a screen: one that the loader has set up, or that of Bochs' and QEMU's display
//! adapter, which needs no firmware (QEMU: docs/specs/standard-vga.rst).

use crate::pci::{self, Function};
use base::PhysAddr;
use base::display::{GROUP_PIXELS, Layout, Pairs, Surface};
use hal::mmio::MmioWindow;

/// No screen is smaller or larger.
const LEAST_PIXELS: u32 = 64;
pub(crate) const MOST_PIXELS: u32 = 16_384;
/// Blue first, as all of these have it.
pub(crate) const SHIFTS: [u8; 3] = [16, 8, 0];

/// True for a size that a screen may have.
pub(crate) fn sane_size(width: u32, height: u32) -> bool {
    let sizes = LEAST_PIXELS..=MOST_PIXELS;
    sizes.contains(&width) && sizes.contains(&height)
}

/// A picture.
pub struct Frame {
    window: MmioWindow,
    layout: Layout,
}

impl Frame {
    /// The picture there, which firmware or a loader has set up. `None` when it makes no sense.
    #[must_use]
    pub fn of(address: PhysAddr, layout: Layout) -> Option<Self> {
        let sane = sane_size(layout.width, layout.height)
            && (layout.width * 4..=MOST_PIXELS * 8).contains(&layout.pitch)
            && layout.pitch.is_multiple_of(8)
            && layout.shifts.iter().all(|shift| *shift <= 24)
            && address.0.is_multiple_of(8);
        let bytes = layout.pitch as usize * layout.height as usize;
        let window = sane.then(|| MmioWindow::map_picture(address, bytes))??;
        Some(Self { window, layout })
    }
}

impl Surface for Frame {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn put(&self, x: u32, y: u32, bits: &[u8], pairs: &[Pairs]) {
        let Layout { width, height, pitch, .. } = self.layout;
        if x >= width || y >= height {
            return;
        }
        let room = ((width - x) / GROUP_PIXELS) as usize;
        let offset = y as usize * pitch as usize + x as usize * size_of::<u32>();
        self.window.write_chosen(offset, bits.get(..room).unwrap_or(bits), pairs);
    }

    fn store(&self, offset: u64, words: &[u64]) {
        self.window.write_words(usize::try_from(offset).unwrap_or(usize::MAX), words);
    }
}

/// Registers in the adapter's third region.
mod register {
    /// The monitor's description (EDID).
    pub(super) const MONITOR: usize = 0;
    /// The VGA's attribute controller, and its status, which readies it for an index.
    pub(super) const ATTRIBUTES: usize = 0x400;
    pub(super) const STATUS: usize = 0x41a;
    /// Those of the mode, two bytes each.
    pub(super) const MODE: usize = 0x500;
    pub(super) const BYTES: usize = 0x600;
}

/// The adapter's picture, in the size that its monitor likes best. Call it once.
#[must_use]
pub fn find() -> Option<Frame> {
    pci::functions().iter().filter(|one| is_bochs(one)).find_map(attach)
}

/// True for the adapter: with a VGA ("VGA", "std") or without ("bochs-display").
pub(crate) fn is_bochs(function: &Function) -> bool {
    (function.vendor, function.device) == (0x1234, 0x1111)
}

fn attach(function: &Function) -> Option<Frame> {
    const REGISTERS: u8 = 2;
    const PIXELS: u8 = 0;
    function.enable();
    let registers = function.map(REGISTERS, 0, register::BYTES)?;
    let (width, height) = preferred(&registers).unwrap_or((1024, 768));
    let layout = Layout { width, height, pitch: width * 4, shifts: SHIFTS };
    let frame = Frame::of(function.bar(PIXELS)?, layout)?;
    set_mode(&registers, &layout);
    Some(frame)
}

fn set_mode(registers: &MmioWindow, layout: &Layout) {
    const ON: u16 = 1;
    const LINEAR: u16 = 1 << 6;
    // Sizes are some thousands: see `preferred`.
    let (width, height) = (layout.width as u16, layout.height as u16);
    const SHOW: u8 = 0x20;
    // Index, value: width, height, bits of a pixel; those of the whole picture; where it begins.
    let modes = [(4, 0), (1, width), (2, height), (3, 32), (6, width), (7, height), (8, 0), (9, 0)];
    for (index, value) in modes.into_iter().chain([(4, ON | LINEAR)]) {
        registers.write_u16(register::MODE + 2 * index, value);
    }
    // Without firmware the VGA shows nothing so far.
    let _ = registers.read_u8(register::STATUS);
    registers.write_u8(register::ATTRIBUTES, SHOW);
}

/// The size in the first detailed timing of the monitor's description (VESA E-EDID 1.4, 3.10.2).
fn preferred(registers: &MmioWindow) -> Option<(u32, u32)> {
    const SIGNATURE: [u8; 8] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
    const TIMING: usize = 54;
    let byte = |at: usize| registers.read_u8(register::MONITOR + at);
    if SIGNATURE.iter().enumerate().any(|(at, wanted)| byte(at) != *wanted) {
        return None;
    }
    let size = |low: usize, high: usize| {
        u32::from(byte(TIMING + high) >> 4) << 8 | u32::from(byte(TIMING + low))
    };
    let (width, height) = (size(2, 4), size(5, 7));
    ((320..=4096).contains(&width) && (200..=4096).contains(&height)).then_some((width, height))
}
