//! The screen's and the keyboard's part of the loop.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::display::{Layout as PictureLayout, Surface};
use base::sync::SpinLock;
use base::{Errno, Instant};
use bundle::config::{Config, Window};
use hal::irq::Irq;
use screen::keyboard::{self, Key, Keyboard, Typed};
use screen::mouse::{self, Mouse};
use screen::{LAYOUTS, Layout, SharedScreen};
use vfs::Vfs;
use vfs::framebuffer::FrameBuffer;
use vfs::input::InputDevice;
use vfs::tty::{KeyMode, Tty, WindowSize};

/// Codes that a keyboard and its controller may hold back are some dozens.
const MOST_WAITING: usize = 1024;

/// A screen on which the console is, and the keyboard before it.
pub struct Display {
    /// Shows what is written to the console.
    pub screen: &'static SharedScreen,
    /// The picture itself, for the program.
    pub surface: Arc<dyn Surface>,
    /// What the screen raises when it may have another size; `None`: it never has.
    pub screen_irq: Option<Irq>,
    /// Takes the surface that is in the place of the one before.
    pub moved: fn(&Arc<dyn Surface>),
    /// What typing raises; `None`: there is no keyboard.
    pub keyboard_irq: Option<Irq>,
    /// What the mouse raises, and whether it has a wheel; `None`: there is none.
    pub mouse: Option<(Irq, bool)>,
}

/// True when a picture may be kept in memory, too: it takes no more than a 16th of it.
#[must_use]
pub fn affords_image(layout: &PictureLayout) -> bool {
    let bytes = 4 * u64::from(layout.width) * u64::from(layout.height);
    bytes <= hal::memory::statistics().total * base::PAGE_SIZE / 16
}

/// From keys, of any keyboard, to what is read at the terminal.
struct Typing {
    screen: &'static SharedScreen,
    keyboard: SpinLock<Keyboard>,
}

impl Typing {
    /// A key that no program wants for itself.
    fn typed(&self, key: Key, now: Instant, tty: &Tty) {
        let bytes = match tty.key_mode() {
            mode @ (KeyMode::Unicode | KeyMode::Latin) => {
                let application = self.screen.cursor_keys_for_application();
                let meaning = self.keyboard.lock().typed(key, application);
                match meaning {
                    Some(Typed::Bytes(bytes)) if mode == KeyMode::Latin => latin(&bytes),
                    Some(Typed::Bytes(bytes)) => bytes,
                    Some(Typed::Look { back }) => return self.screen.look_back(back, now),
                    None => return,
                }
            }
            mode => {
                self.keyboard.lock().follow(key);
                match mode {
                    KeyMode::Raw => key.raw(),
                    KeyMode::MediumRaw => key.medium_raw(),
                    _ => return,
                }
            }
        };
        tty.input(&bytes);
    }
}

/// The characters of a text that have one byte.
fn latin(text: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(text).chars().filter_map(|one| u8::try_from(one).ok()).collect()
}

/// What is typed at the screen.
pub(crate) struct Keys {
    screen: &'static SharedScreen,
    screen_interrupt: u64,
    moved: fn(&Arc<dyn Surface>),
    interrupts: u64,
    typing: Arc<Typing>,
    /// The same keys for programs that want to see them go down and up.
    device: Option<Arc<InputDevice>>,
    mouse: Option<(SpinLock<Mouse>, Arc<InputDevice>)>,
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
        let irqs = [display.keyboard_irq, display.mouse.map(|(irq, _)| irq)];
        let interrupts = irqs.iter().flatten().fold(0, |bits, irq| bits | 1 << irq.0);
        let device = display
            .keyboard_irq
            .map(|_| InputDevice::new(0, vfs::input::pc_keyboard(keyboard::codes())));
        let mouse = display.mouse.map(|(_, has_wheel)| {
            let description = vfs::input::pc_mouse(has_wheel, mouse::BUTTONS, mouse::AXES);
            let number = u32::from(device.is_some());
            (SpinLock::new(Mouse::new(has_wheel)), InputDevice::new(number, description))
        });
        let [us, ..] = &LAYOUTS;
        let layout = Layout::named(config.keymap.name()).unwrap_or(us);
        let screen = display.screen;
        Self {
            screen,
            screen_interrupt: display.screen_irq.map_or(0, |irq| 1 << irq.0),
            moved: display.moved,
            interrupts,
            typing: Arc::new(Typing { screen, keyboard: SpinLock::new(Keyboard::new(layout)) }),
            device,
            mouse,
            picture: FrameBuffer::new(display.surface),
            answers,
        }
    }

    /// As many event devices are these.
    pub(crate) fn input_devices(&self) -> u32 {
        u32::from(self.device.is_some()) + u32::from(self.mouse.is_some())
    }

    /// Puts the screen, the keyboard and the mouse, if there are such, into /dev.
    pub(crate) fn add_to(&self, vfs: &Vfs, tty: &Arc<Tty>) -> Result<(), Errno> {
        let screen = self.screen;
        tty.put_on_screen(Box::new(move |shown| screen.show(shown, hal::clock::now())));
        vfs::dev::add_screen(vfs, Arc::clone(&self.picture), tty)?;
        if let Some(device) = &self.device {
            self.types(device, tty);
            device.tells(Box::new(|_, lights| hal::keyboard::set_lights(keyboard::lights(lights))));
        }
        let mouse = self.mouse.as_ref().map(|(_, device)| device);
        self.device.iter().chain(mouse).try_for_each(|device| vfs::dev::add_input(vfs, device))
    }

    /// What programs let happen at a keyboard is typed, too.
    pub(crate) fn types(&self, keyboard: &InputDevice, tty: &Arc<Tty>) {
        let (typing, tty) = (Arc::clone(&self.typing), Arc::clone(tty));
        keyboard.types(Box::new(move |code, pressed, now| {
            typing.typed(Key { code, pressed }, now, &tty);
        }));
    }

    /// Passes on what was typed, and paints what is to be painted.
    pub(crate) fn serve(&self, now: Instant, pending: u64, tty: &Arc<Tty>) {
        if pending & self.interrupts != 0 {
            // More is nobody's typing, but a controller that is not there any more.
            for typed in core::iter::from_fn(hal::keyboard::read).take(MOST_WAITING) {
                match typed {
                    hal::Typed::Keyboard(code) => self.key(code, now, tty),
                    hal::Typed::Mouse(byte) => self.moved(byte, now),
                }
            }
        }
        if let Some(answers) = self.screen.take_answers()
            && self.answers
        {
            tty.input(&answers);
        }
        if pending & self.screen_interrupt != 0 {
            self.adapt(now, tty);
        }
        self.screen.refresh_if_due(now);
        self.picture.refresh_if_due(now);
    }

    /// Goes on on a screen that has another size now, if it has.
    fn adapt(&self, now: Instant, tty: &Tty) {
        let Some(surface) = self.screen.surface().successor() else { return };
        (self.moved)(&surface);
        let with_image = affords_image(&surface.layout());
        if !self.screen.move_to(Arc::clone(&surface), with_image, now) {
            hal::console::write(b"eggos: the screen has more text than there is memory for\n");
        }
        self.picture.move_to(surface, self.screen.is_hidden());
        // Else the terminal is the one at the serial line.
        if self.answers {
            let (rows, columns) = self.screen.size();
            tty.set_window(WindowSize { rows, columns, width: 0, height: 0 });
        }
    }

    fn key(&self, code: u8, now: Instant, tty: &Arc<Tty>) {
        let Some(key) = self.typing.keyboard.lock().take(code) else { return };
        if !self.device.as_ref().is_some_and(|device| device.key(key.code, key.pressed, now)) {
            self.typed(key, now, tty);
        }
    }

    fn moved(&self, byte: u8, now: Instant) {
        let Some((mouse, device)) = &self.mouse else { return };
        let events = mouse.lock().take(byte);
        events.into_iter().for_each(|events| {
            device.report(events, now);
        });
    }

    /// A key that no program wants for itself, of this keyboard or another.
    pub(crate) fn typed(&self, key: Key, now: Instant, tty: &Arc<Tty>) {
        self.typing.typed(key, now, tty);
    }

    /// Paints what the program wrote last.
    pub(crate) fn settle(&self) {
        self.screen.settle(hal::clock::now);
    }

    /// When there is something to paint.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.screen.next_refresh(), self.picture.next_refresh()].into_iter().flatten().min()
    }
}
