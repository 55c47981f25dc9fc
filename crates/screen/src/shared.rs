//! The screen as the kernel has it: written from everywhere, painted now and then.

use crate::Screen;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Instant;
use base::display::Surface;
use base::sync::{Rank, SpinLock};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use core::time::Duration;

/// Painting more often would show nothing more.
const PERIOD: Duration = Duration::from_millis(16);

/// A screen that several CPUs use.
pub struct SharedScreen {
    screen: SpinLock<Screen>,
    /// Something is to be painted, or flushed.
    stale: AtomicBool,
    /// Nothing is painted: something else is.
    hidden: AtomicBool,
    /// The terminal has answers.
    answers: AtomicBool,
    /// Not before this: nanoseconds.
    next: AtomicU64,
}

impl SharedScreen {
    /// Shares it.
    #[must_use]
    pub fn new(screen: Screen) -> Self {
        Self {
            screen: SpinLock::ranked(Rank::Screen, screen),
            stale: AtomicBool::new(true),
            hidden: AtomicBool::new(false),
            answers: AtomicBool::new(false),
            next: AtomicU64::new(0),
        }
    }

    /// Rows and columns.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        self.screen.lock().size()
    }

    /// What it is painted on.
    #[must_use]
    pub fn surface(&self) -> Arc<dyn Surface> {
        Arc::clone(self.screen.lock().surface())
    }

    /// See [`Screen::move_to`].
    pub fn move_to(&self, surface: Arc<dyn Surface>, with_image: bool, now: Instant) -> bool {
        let fits = self.screen.lock().move_to(surface, with_image);
        self.stale.store(true, Relaxed);
        self.refresh_if_due(now);
        fits
    }

    /// True while something else has the surface: see [`SharedScreen::show`].
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.hidden.load(Relaxed)
    }

    /// Takes what was written; paints it when nothing was painted lately.
    pub fn write(&self, bytes: &[u8], now: Instant) {
        {
            let mut screen = self.screen.lock();
            screen.write(bytes);
            self.answers.fetch_or(screen.has_answers(), Relaxed);
        }
        self.stale.store(true, Relaxed);
        self.refresh_if_due(now);
    }

    /// What the terminal answers, see [`Screen::take_answers`]; `None`: nothing.
    #[must_use]
    pub fn take_answers(&self) -> Option<Vec<u8>> {
        self.answers.swap(false, Relaxed).then(|| self.screen.lock().take_answers())
    }

    /// See [`Screen::look_back`].
    pub fn look_back(&self, back: bool, now: Instant) {
        self.screen.lock().look_back(back);
        self.stale.store(true, Relaxed);
        self.refresh_if_due(now);
    }

    /// See [`Screen::cursor_keys_for_application`].
    #[must_use]
    pub fn cursor_keys_for_application(&self) -> bool {
        self.screen.lock().cursor_keys_for_application()
    }

    /// Paints, all of it anew, or leaves the surface to something else.
    pub fn show(&self, shown: bool, now: Instant) {
        self.hidden.store(!shown, Relaxed);
        if shown {
            self.screen.lock().repaint();
            self.stale.store(true, Relaxed);
            self.refresh_if_due(now);
        }
    }

    /// When it is to be painted next; `None`: nothing has changed, or it is not shown.
    #[must_use]
    pub fn next_refresh(&self) -> Option<Instant> {
        let next = Instant::from_nanoseconds(self.next.load(Relaxed));
        (self.stale.load(Relaxed) && !self.hidden.load(Relaxed)).then_some(next)
    }

    /// Paints what was written last, waiting for that a while: nobody will look at it again.
    pub fn settle(&self, clock: impl Fn() -> Instant) {
        const PATIENCE: Duration = Duration::from_millis(500);
        const MOST_LOOKS: u32 = 100_000_000;
        let deadline = clock() + PATIENCE;
        for _ in 0..MOST_LOOKS {
            let now = clock();
            if self.next_refresh().is_none() || now > deadline {
                break;
            }
            self.refresh_if_due(now);
            core::hint::spin_loop();
        }
    }

    /// Paints when it is time.
    pub fn refresh_if_due(&self, now: Instant) {
        if self.next_refresh().is_some_and(|next| next <= now) {
            self.next.store((now + PERIOD).nanoseconds(), Relaxed);
            self.stale.store(false, Relaxed);
            let surface = {
                let mut screen = self.screen.lock();
                screen.refresh();
                Arc::clone(screen.surface())
            };
            // Not under the lock: trouble is told on the console.
            if !surface.flush() {
                self.stale.store(true, Relaxed);
            }
        }
    }
}
