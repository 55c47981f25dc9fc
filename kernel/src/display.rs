//! The console on the screen.

use alloc::sync::Arc;
use base::display::{Layout, Surface};
use base::sync::Once;
use base::{PAGE_SIZE, PhysAddr};
use bundle::config::{Config, Console};
use drivers::{Frame, PackedFrame};
use hal::boot::Framebuffer;
use hal::console::Mirror;
use hal::irq::Irq;
use screen::{LastWords, Screen, SharedScreen};
use system::{Display, affords_image};

static SCREEN: Once<SharedScreen> = Once::new();
static LAST_WORDS: Once<LastWords> = Once::new();

/// The picture that the loader has set up, or else that of an adapter that needs no loader.
pub(crate) fn find(told: Option<Framebuffer>) -> Option<Arc<dyn Surface>> {
    let adapter = || Some(Arc::new(drivers::display::find()?) as Arc<dyn Surface>);
    told.and_then(by_loader).or_else(adapter)
}

fn by_loader(told: Framebuffer) -> Option<Arc<dyn Surface>> {
    let Framebuffer { address, pitch, width, height, bits, colours } = told;
    let (address, shifts) = (PhysAddr(address), colours.map(|(shift, _)| shift));
    let layout = Layout { width, height, pitch, shifts };
    if bits == 32 && colours.iter().all(|one| one.1 == 8) {
        Some(Arc::new(Frame::of(address, layout)?))
    } else {
        Some(Arc::new(PackedFrame::of(address, layout, bits, colours)?))
    }
}

/// Shows the console there, as the settings wish. `None`: they do not. `screen_irq`: what the screen raises when
/// it may have another size.
pub(crate) fn start(
    surface: Arc<dyn Surface>,
    screen_irq: Option<Irq>,
    config: &Config,
) -> Option<Display> {
    match config.console {
        Console::Serial => return None,
        Console::Screen => hal::console::leave_serial(),
        Console::Both => {}
    }
    LAST_WORDS.call_once(|| LastWords::new(Arc::clone(&surface)));
    let screen = SCREEN.call_once(|| {
        let (rows, with_image) = (history_rows(), affords_image(&surface.layout()));
        SharedScreen::new(Screen::new(Arc::clone(&surface), rows, with_image))
    });
    // The kernel's own lines end without a carriage return (LNM), up to the program's start.
    write(b"\x1b[20h");
    hal::console::set_mirror(Mirror { write, write_last, finish });
    let keyboard_irq = hal::keyboard::init();
    let mouse = hal::keyboard::init_mouse();
    Some(Display { screen, surface, screen_irq, moved, keyboard_irq, mouse })
}

/// Paints what was written last.
pub(crate) fn settle() {
    if let Some(screen) = SCREEN.get() {
        screen.settle(hal::clock::now);
    }
}

/// Rows to look back to: a row is some KiB, and they may take a 64th of the memory.
fn history_rows() -> usize {
    const ROW_BYTES: u64 = 2048;
    const MOST: u64 = 2000;
    let share = hal::memory::statistics().total * PAGE_SIZE / 64;
    // At most `MOST`.
    (share / ROW_BYTES).min(MOST) as usize
}

fn write(bytes: &[u8]) {
    if let Some(screen) = SCREEN.get() {
        screen.write(bytes, hal::clock::now());
    }
}

/// The screen has another size.
fn moved(surface: &Arc<dyn Surface>) {
    if let Some(words) = LAST_WORDS.get() {
        words.move_to(Arc::clone(surface));
    }
}

fn finish() {
    if let Some(words) = LAST_WORDS.get() {
        words.finish();
    }
}

fn write_last(bytes: &[u8]) {
    if let Some(words) = LAST_WORDS.get() {
        words.write(bytes);
    }
}
