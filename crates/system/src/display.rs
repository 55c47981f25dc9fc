//! The screen's and the keyboard's part of the loop.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use base::display::Surface;
use base::sync::SpinLock;
use base::{Errno, Instant};
use bundle::config::{Config, Window};
use hal::irq::Irq;
use screen::keyboard::{self, Keyboard, Typed};
use screen::{LAYOUTS, Layout, SharedScreen};
use vfs::Vfs;
use vfs::framebuffer::FrameBuffer;
use vfs::input::InputDevice;
use vfs::tty::Tty;

/// Codes that a keyboard and its controller may hold back are some dozens.
const MOST_WAITING: usize = 1024;

/// A screen on which the console is, and the keyboard before it.
pub struct Display {
    /// Shows what is written to the console.
    pub screen: &'static SharedScreen,
    /// The picture itself, for the program.
    pub surface: Box<dyn Surface>,
    /// What typing raises; `None`: there is no keyboard.
    pub keyboard_irq: Option<Irq>,
}

/// What is typed at the screen.
pub(crate) struct Keys {
    screen: &'static SharedScreen,
    interrupts: u64,
    keyboard: SpinLock<Keyboard>,
    /// The same keys for programs that want to see them go down and up.
    device: Arc<InputDevice>,
    picture: Arc<FrameBuffer>,
    /// Whether the screen answers the program's questions. Else the terminal on the serial line
    /// does, and one answer is enough.
    answers: bool,
}

impl Keys {
    /// Makes the program's console a terminal as large as the screen, unless `egg` has one already.
    pub(crate) fn new(display: Display, config: &mut Config) -> Self {
        // From here on the terminal's output settings add carriage returns.
        display.screen.write(b"\x1b[20l", Instant::ZERO);
        let answers = !config.tty;
        if answers {
            let (rows, columns) = display.screen.size();
            config.tty = true;
            config.window = Some(Window { rows, columns, width: 0, height: 0 });
            if !config.env.iter().any(|variable| variable.starts_with("TERM=")) {
                config.env.push(String::from("TERM=xterm-256color"));
            }
        }
        let [us, ..] = &LAYOUTS;
        let layout = Layout::named(config.keymap.name()).unwrap_or(us);
        Self {
            screen: display.screen,
            interrupts: display.keyboard_irq.map_or(0, |irq| 1 << irq.0),
            keyboard: SpinLock::new(Keyboard::new(layout)),
            device: InputDevice::new(vfs::input::keys(keyboard::codes())),
            picture: FrameBuffer::new(display.surface),
            answers,
        }
    }

    /// Puts the screen and the keyboard, if there is one, into /dev.
    pub(crate) fn add_to(&self, vfs: &Vfs, tty: &Arc<Tty>) -> Result<(), Errno> {
        let screen = self.screen;
        tty.put_on_screen(Box::new(move |shown| screen.show(shown, hal::clock::now())));
        vfs::dev::add_screen(vfs, Arc::clone(&self.picture), tty)?;
        if self.interrupts == 0 {
            return Ok(());
        }
        vfs::dev::add_keyboard(vfs, Arc::clone(&self.device))
    }

    /// Passes on what was typed, and paints what is to be painted.
    pub(crate) fn serve(&self, now: Instant, pending: u64, tty: &Arc<Tty>) {
        if pending & self.interrupts != 0 {
            // More is nobody's typing, but a controller that is not there any more.
            for typed in core::iter::from_fn(hal::keyboard::read).take(MOST_WAITING) {
                if let hal::Typed::Keyboard(code) = typed {
                    self.key(code, now, tty);
                }
            }
        }
        if let Some(answers) = self.screen.take_answers()
            && self.answers
        {
            tty.input(&answers);
        }
        self.screen.refresh_if_due(now);
        self.picture.refresh_if_due(now);
    }

    fn key(&self, code: u8, now: Instant, tty: &Arc<Tty>) {
        let Some(key) = self.keyboard.lock().take(code) else { return };
        if self.device.key(key.code, key.pressed, now) || !tty.takes_keys() {
            return;
        }
        let application = self.screen.cursor_keys_for_application();
        let typed = self.keyboard.lock().typed(key, application);
        match typed {
            Some(Typed::Bytes(bytes)) => tty.input(&bytes),
            Some(Typed::Look { back }) => self.screen.look_back(back, now),
            None => {}
        }
    }

    /// When there is something to paint.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.screen.next_refresh(), self.picture.next_refresh()].into_iter().flatten().min()
    }
}
