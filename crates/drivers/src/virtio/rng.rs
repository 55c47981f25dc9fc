//! The entropy device (§5.4): one queue; the device fills what it is given.

use super::handshake::Device;
use super::queue::{Queue, Segment};
use super::transport::{QueueIndex, Transport};
use super::{Error, feature, polled, report_broken};
use alloc::boxed::Box;
use core::time::Duration;
use hal::dma::DmaBuffer;

const REQUEST_QUEUE: QueueIndex = QueueIndex(0);
/// Bytes asked for at once: a seed.
const REQUEST_BYTES: usize = 64;
/// How long to wait for the device: longer than a hypervisor takes to read its own generator.
const PATIENCE: Duration = Duration::from_millis(200);

/// A virtio entropy device.
pub struct VirtioRng {
    device: Device,
    // `None` once the device broke the rules or lost our patience.
    queue: Option<Queue<DmaBuffer>>,
    spare: Option<DmaBuffer>,
}

impl VirtioRng {
    /// Brings up the device behind `transport`.
    ///
    /// # Errors
    /// The device does not follow, or there is no memory.
    pub fn new(transport: Box<dyn Transport>) -> Result<Self, Error> {
        let mut device = Device::negotiate(transport, 0)?;
        let event_index = device.has(feature::EVENT_INDEX);
        // The answer is polled for: no interrupt.
        let queue = Queue::new(device.transport(), REQUEST_QUEUE, 1, event_index, None)?;
        let spare = Some(DmaBuffer::new(REQUEST_BYTES)?);
        device.start();
        Ok(Self { device, queue: Some(queue), spare })
    }

    /// Fills `seed` with random bytes, waiting at most a fifth of a second for each 64 of them.
    /// Returns how many came; fewer than asked means that the device gave up, or was given up.
    pub fn fill(&mut self, seed: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(rest) = seed.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.request(rest) {
                Some(count) if count > 0 => filled += count,
                _ => break,
            }
        }
        filled
    }

    fn request(&mut self, into: &mut [u8]) -> Option<usize> {
        let queue = self.queue.as_mut()?;
        let buffer = self.spare.take()?;
        let wanted = into.len().min(REQUEST_BYTES);
        let segment = Segment::writable(&buffer, 0..wanted)?;
        if let Err(buffer) = queue.push(buffer, &[segment]) {
            self.spare = Some(buffer);
            return None;
        }
        queue.publish();
        match polled::wait(queue, PATIENCE) {
            Ok(Some((mut buffer, written))) => {
                let (to, from) = (into.get_mut(..written)?, buffer.get_mut(..written)?);
                to.copy_from_slice(from);
                // The seed is a secret.
                from.fill(0);
                self.spare = Some(buffer);
                Some(written)
            }
            Ok(None) => {
                self.stop();
                None
            }
            Err(violation) => {
                report_broken("virtio-rng", violation);
                self.stop();
                None
            }
        }
    }

    fn stop(&mut self) {
        let stopped = self.device.stop();
        if let Some(queue) = self.queue.take()
            && !stopped
        {
            // It may still write to the buffer.
            queue.leak();
        }
    }
}

impl Drop for VirtioRng {
    fn drop(&mut self) {
        if self.queue.is_some() {
            self.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Behaviour, Device as Model, Shared, lock, mmio_window};
    use crate::virtio::MmioTransport;

    fn attach(device: &Shared) -> VirtioRng {
        let transport = MmioTransport::new(mmio_window(device), || None).unwrap();
        VirtioRng::new(Box::new(transport)).unwrap()
    }

    #[test]
    fn fills_seeds_longer_than_a_request() {
        let mut rng = attach(&Model::rng(Behaviour::Count));
        let mut seed = [0xff; 150];
        assert_eq!(rng.fill(&mut seed), 150);
        for (at, byte) in seed.iter().enumerate() {
            assert_eq!(usize::from(*byte), at % 64);
        }
    }

    #[test]
    fn gives_up_on_a_device_that_does_not_answer() {
        let device = Model::rng(Behaviour::Dead);
        let mut rng = attach(&device);
        assert_eq!(rng.fill(&mut [0; 32]), 0);
        assert_eq!(lock(&device).status, 0, "it is reset and will not write later");
        assert_eq!(rng.fill(&mut [0; 32]), 0);
    }
}
