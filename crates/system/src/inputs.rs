//! Input devices that a driver serves: their events go to programs, and what is typed on keyboards among
//! them to the terminal on the screen.

use crate::display::Keys;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::input::{Description, Event, InputSource, kind};
use base::sync::SpinLock;
use base::{Errno, Instant};
use hal::irq::Irq;
use screen::keyboard::Key;
use vfs::Vfs;
use vfs::input::InputDevice;
use vfs::tty::Tty;

/// An input device of the machine.
pub struct Input {
    /// Gives its events.
    pub source: Box<dyn InputSource>,
    /// What it is.
    pub description: Description,
    /// What it raises when there are some.
    pub irq: Irq,
}

/// All of them.
pub(crate) struct Inputs {
    all: Vec<Attached>,
    /// What they raise.
    pub(crate) interrupts: u64,
}

struct Attached {
    driven: Arc<SpinLock<Driven>>,
    device: Arc<InputDevice>,
}

struct Driven {
    source: Box<dyn InputSource>,
    /// Events that are not reported yet.
    gathered: Vec<Event>,
}

/// A report of more events than that is cut: no device makes such.
const MOST_GATHERED: usize = 64;
/// Events looked at in one go where no report comes.
const MOST_LOOKS: usize = 4096;

impl Driven {
    /// The events up to the next report. `None`: there is none yet.
    fn report(&mut self) -> Option<Vec<Event>> {
        for _ in 0..MOST_LOOKS {
            match self.source.next()? {
                Event { kind: kind::SYN, .. } => return Some(core::mem::take(&mut self.gathered)),
                event if self.gathered.len() < MOST_GATHERED => self.gathered.push(event),
                _ => {}
            }
        }
        None
    }
}

impl Inputs {
    /// `first`: the number of the first among the event devices.
    pub(crate) fn new(inputs: Vec<Input>, first: u32) -> Self {
        let interrupts = inputs.iter().fold(0, |bits, input| bits | 1 << input.irq.0);
        let numbers = first..vfs::input::MOST;
        let attach = |(input, number): (Input, u32)| Attached {
            device: InputDevice::new(number, input.description),
            driven: Arc::new(SpinLock::new(Driven { source: input.source, gathered: Vec::new() })),
        };
        let all: Vec<Attached> = inputs.into_iter().zip(numbers).map(attach).collect();
        for Attached { device, driven } in &all {
            let driven = Arc::clone(driven);
            device.tells(Box::new(move |event, _| driven.lock().source.tell(event)));
        }
        Self { all, interrupts }
    }

    /// Puts them into /dev/input. With `keys`, what programs let happen at keyboards among them is typed.
    pub(crate) fn add_to(
        &self,
        vfs: &Vfs,
        keys: Option<&Keys>,
        tty: &Arc<Tty>,
    ) -> Result<(), Errno> {
        if let Some(keys) = keys {
            let keyboards = self.all.iter().filter(|one| one.device.is_keyboard());
            keyboards.for_each(|one| keys.types(&one.device, tty));
        }
        self.all.iter().try_for_each(|one| vfs::dev::add_input(vfs, &one.device))
    }

    /// Passes on what has happened.
    pub(crate) fn serve(&self, now: Instant, keys: Option<&Keys>, tty: &Arc<Tty>) {
        for Attached { driven, device } in &self.all {
            // Not under the lock: readers are woken.
            while let Some(events) = { driven.lock().report() } {
                let wanted = device.report(events.iter().copied(), now);
                let Some(keys) = keys.filter(|_| !wanted && device.is_keyboard()) else { continue };
                for event in events.iter().filter(|event| event.kind == kind::KEY) {
                    keys.typed(Key { code: event.code, pressed: event.value != 0 }, now, tty);
                }
            }
        }
    }
}
