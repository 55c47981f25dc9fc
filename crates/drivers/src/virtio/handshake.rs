//! From reset to running and back (§3.1.1).

use super::transport::Transport;
use super::{Error, feature};
use alloc::boxed::Box;

/// Device status bits (§2.1).
mod status {
    pub(super) const ACKNOWLEDGE: u8 = 1;
    pub(super) const DRIVER: u8 = 2;
    pub(super) const DRIVER_OK: u8 = 4;
    pub(super) const FEATURES_OK: u8 = 8;
    pub(super) const FAILED: u8 = 128;
}

/// How often to look whether a reset is done. Each look is an exit: 100 ms or more in all.
const RESET_LOOKS: u32 = 100_000;

/// How far a device has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Negotiating,
    Running,
    Stopped,
}

/// A device whose features are agreed on. Dropped before [`Device::start`] it is marked failed,
/// dropped afterwards it is reset.
pub struct Device {
    transport: Box<dyn Transport>,
    features: u64,
    state: State,
}

fn reset(transport: &mut dyn Transport) -> bool {
    transport.set_status(0);
    for _ in 0..RESET_LOOKS {
        if transport.status() == 0 {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}

impl Device {
    /// Resets the device and agrees with it on the features that are both offered and `wanted`
    /// (the ones of [`feature`] come on top).
    ///
    /// # Errors
    /// The device does not follow; it is marked failed.
    pub fn negotiate(transport: Box<dyn Transport>, wanted: u64) -> Result<Self, Error> {
        let mut device = Self { transport, features: 0, state: State::Negotiating };
        let transport = &mut *device.transport;
        if !reset(transport) {
            return Err(Error::NoReset);
        }
        transport.set_status(status::ACKNOWLEDGE);
        transport.set_status(status::ACKNOWLEDGE | status::DRIVER);
        let offered = transport.offered_features();
        if offered & feature::VERSION_1 == 0 {
            return Err(Error::NoVersion1);
        }
        let common = feature::VERSION_1 | feature::EVENT_INDEX | feature::ACCESS_PLATFORM;
        let features = offered & (wanted | common);
        transport.accept_features(features);
        let agreed = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        transport.set_status(agreed);
        if transport.status() & status::FEATURES_OK == 0 {
            return Err(Error::FeaturesRefused);
        }
        device.features = features;
        Ok(device)
    }

    /// True when all of `features` are agreed on.
    #[must_use]
    pub fn has(&self, features: u64) -> bool {
        self.features & features == features
    }

    /// The registers.
    pub fn transport(&mut self) -> &mut dyn Transport {
        &mut *self.transport
    }

    /// Lets the device run; its queues are set up.
    pub fn start(&mut self) {
        let agreed = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.transport.set_status(agreed | status::DRIVER_OK);
        self.state = State::Running;
    }

    /// Resets the device for good. `false` when it did not confirm: then it may still write to
    /// memory it was given, which must not be used for anything else.
    pub fn stop(&mut self) -> bool {
        self.state = State::Stopped;
        reset(&mut *self.transport)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        match self.state {
            State::Negotiating => {
                let before = self.transport.status();
                self.transport.set_status(before | status::FAILED);
            }
            State::Running => {
                reset(&mut *self.transport);
            }
            State::Stopped => {}
        }
    }
}
