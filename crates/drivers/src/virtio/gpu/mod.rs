//! Display devices (§5.7), of which the two-dimensional part is used: the picture lies in this machine's
//! memory, and the device is told which part of it has changed.

mod control;
mod picture;
#[cfg(test)]
mod tests;

use super::transport::Transport;
use super::{Error, report_broken};
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use base::display::{Layout, Pairs, Surface};
use base::sync::SpinLock;
use control::Control;
use core::time::Duration;
use hal::irq::Irq;
use picture::Picture;

/// How long a kernel that fails waits for a lock, and for the device.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// The same in looks, should the clock stand still.
const LAST_LOOKS: u32 = if cfg!(test) { 1000 } else { 50_000_000 };

/// Sizes to choose from where there is too little memory for what the display likes best.
const SMALLER: [(u32, u32); 3] = [(1024, 768), (800, 600), (640, 480)];
/// The picture takes at most this part of the memory.
const SHARE: u64 = 8;

/// A virtio display device that shows a picture, or one that it has shown before.
pub struct VirtioGpu {
    picture: Picture,
    control: Arc<SpinLock<Control>>,
}

impl VirtioGpu {
    /// Brings up the device behind `transport`, with a black picture of the size that its first display
    /// likes best.
    ///
    /// # Errors
    /// The device does not follow, or there is no memory.
    pub fn new(transport: Box<dyn Transport>) -> Result<Arc<Self>, Error> {
        let mut control = Control::new(transport)?;
        let wanted = control.choose_display()?;
        let [.., smallest] = SMALLER;
        let size = [wanted].into_iter().chain(SMALLER).find(is_affordable).unwrap_or(smallest);
        let picture = Picture::new(1, size)?;
        control.show(&picture)?;
        let gpu = Arc::new(Self { picture, control: Arc::new(SpinLock::new(control)) });
        gpu.flush();
        Ok(gpu)
    }

    /// What the device raises when the display may have another size: see [`Surface::successor`]. `None`: it
    /// keeps the one that it has.
    #[must_use]
    pub fn irq(&self) -> Option<Irq> {
        self.control.lock().irq()
    }
}

/// True when the memory has room for a picture of this size.
fn is_affordable((width, height): &(u32, u32)) -> bool {
    let most = hal::memory::statistics().total * base::PAGE_SIZE / SHARE;
    u64::from(*width) * u64::from(*height) * 4 <= most
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

    fn successor(&self) -> Option<Arc<dyn Surface>> {
        let outcome = self.control.lock().adapt(&self.picture, is_affordable);
        match outcome {
            Ok(picture) => {
                let gpu = Self { picture: picture?, control: Arc::clone(&self.control) };
                gpu.flush();
                Some(Arc::new(gpu))
            }
            Err(error @ Error::NoAnswer) => {
                report_broken("virtio-gpu", error);
                None
            }
            Err(error) => {
                let Layout { width, height, .. } = self.layout();
                let line = format!("eggos: virtio-gpu: it stays {width}x{height}: {error}\n");
                hal::console::write(line.as_bytes());
                None
            }
        }
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
