//! Whom the machine's surroundings reach: signals of keys and of the power button.

use alloc::sync::{Arc, Weak};
use base::Signal;
use base::sync::SpinLock;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use syscalls::process::{ExitStatus, Process};
use syscalls::signal::SignalInfo;

const SIGKILL: Signal = Signal(9);
const SIGTERM: Signal = Signal(15);

/// How long the program may take to end when the power button was pressed: as `docker stop` gives.
const GRACE: Duration = Duration::from_secs(10);

/// The process, once it exists.
#[derive(Default)]
pub(crate) struct Target {
    process: SpinLock<Weak<Process>>,
    /// The program was told to end.
    ending: AtomicBool,
}

impl Target {
    pub(crate) fn set(&self, process: &Arc<Process>) {
        *self.process.lock() = Arc::downgrade(process);
    }

    pub(crate) fn send(&self, signal: Signal) {
        let process = self.process.lock().upgrade();
        if let Some(process) = process {
            // A standard signal always fits the queue.
            let _ = process.send_signal(SignalInfo::from_kernel(signal));
        }
    }

    /// The power button, or who stands for it: SIGTERM, each time; and from the first time on the
    /// program has so long to end.
    pub(crate) fn terminate(&self) {
        self.send(SIGTERM);
        let Some(process) = self.process.lock().upgrade() else { return };
        if self.ending.swap(true, Ordering::Relaxed) {
            return;
        }
        let machine = Arc::clone(&process.machine);
        let process = Arc::downgrade(&process);
        let deadline = hal::clock::now() + GRACE;
        let timers = Arc::clone(&machine.timers);
        machine.spawner.spawn(Arc::default(), async move {
            timers.sleep_until(deadline).await;
            if let Some(process) = process.upgrade() {
                hal::console::control(&alloc::format!(
                    "warn the program did not end within {} s of SIGTERM",
                    GRACE.as_secs()
                ));
                process.end(ExitStatus::Signal(SIGKILL));
            }
        });
    }
}
