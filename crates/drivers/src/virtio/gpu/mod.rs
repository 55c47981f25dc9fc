//! Display devices (§5.7), of which the two-dimensional part is used: the picture lies in this machine's
//! memory, and the device is told which part of it has changed.

mod control;
mod picture;
#[cfg(test)]
mod tests;

use super::transport::Transport;
use super::{Error, report_broken};
use alloc::boxed::Box;
use alloc::sync::Arc;
use base::display::{Layout, Pairs, Surface};
use base::sync::SpinLock;
use control::Control;
use core::time::Duration;
use picture::Picture;

/// How long a kernel that fails waits for a lock, and for the device.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// The same in looks, should the clock stand still.
const LAST_LOOKS: u32 = if cfg!(test) { 1000 } else { 50_000_000 };

/// Sizes to choose from where there is too little memory for what the display likes best.
const SMALLER: [(u32, u32); 3] = [(1024, 768), (800, 600), (640, 480)];
/// The picture takes at most this part of the memory.
const SHARE: u64 = 8;

/// A virtio display device that shows a picture.
pub struct VirtioGpu {
    picture: Picture,
    control: SpinLock<Control>,
}

impl VirtioGpu {
    /// Brings up the device behind `transport`, with a black picture of the size that its first display
    /// likes best.
    ///
    /// # Errors
    /// The device does not follow, or there is no memory.
    pub fn new(transport: Box<dyn Transport>) -> Result<Arc<Self>, Error> {
        let mut control = Control::new(transport)?;
        let (display, wanted) = control.display()?;
        let picture = Picture::new(affordable(wanted))?;
        control.show(display, &picture)?;
        let gpu = Arc::new(Self { picture, control: SpinLock::new(control) });
        gpu.flush();
        Ok(gpu)
    }
}

/// The size of a picture that the memory has room for.
fn affordable(wanted: (u32, u32)) -> (u32, u32) {
    let most = hal::memory::statistics().total * base::PAGE_SIZE / SHARE;
    let fits = |size: &(u32, u32)| u64::from(size.0) * u64::from(size.1) * 4 <= most;
    let [.., smallest] = SMALLER;
    [wanted].into_iter().chain(SMALLER).find(fits).unwrap_or(smallest)
}

impl Surface for VirtioGpu {
    fn layout(&self) -> Layout {
        self.picture.layout()
    }

    fn put(&self, x: u32, y: u32, bits: &[u8], pairs: &[Pairs]) {
        self.picture.put(x, y, bits, pairs);
    }

    fn store(&self, offset: u64, words: &[u64]) {
        self.picture.store(offset, words);
    }

    fn flush(&self) -> bool {
        // Whoever has it flushes, too.
        let Some(mut control) = self.control.try_lock() else { return false };
        let outcome = control.flush(&self.picture);
        drop(control);
        // The console, which is told, may be on this screen.
        outcome.unwrap_or_else(|trouble| {
            report_broken("virtio-gpu", trouble);
            true
        })
    }

    fn flush_last(&self) {
        let deadline = hal::clock::now() + LAST_PATIENCE;
        for _ in 0..LAST_LOOKS {
            if let Some(mut control) = self.control.try_lock() {
                return control.flush_last(&self.picture, deadline, LAST_LOOKS);
            }
            if hal::clock::now() > deadline {
                return;
            }
            core::hint::spin_loop();
        }
    }
}
