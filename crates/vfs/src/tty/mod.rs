//! The console as a terminal (termios(3), tty_ioctl(4)).
//!
//! The kernel pushes typed bytes into [`Tty::input`] and gets what the program writes through a
//! hook. Between them stands the line discipline: echo, line editing, signals, newlines.

mod devpts;
mod discipline;
mod pty;
mod screen;
mod settings;

pub use devpts::DEVPTS_MAGIC;
pub(crate) use devpts::DevPts;
pub(crate) use pty::Controlling;
pub use pty::{PtyMaster, PtySlave, Ptys};
pub use screen::{KeyMode, ShowHook};
pub use settings::{Settings, WindowSize};

use crate::access::Who;
use crate::device::Device;
use crate::file::{File, FileRef, IoctlArgument};
use crate::flags::OpenFlags;
use crate::metadata::{FileType, Metadata};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use base::io::{Sink, Source, fill};
use base::sync::{Once, SpinLock};
use base::{Errno, Instant, Signal};
use core::any::Any;
use discipline::Discipline;
use sched::{Notifier, PollEvents};
use screen::OnScreen;
use settings::{LocalFlags, OutputFlags};

/// ioctl commands (asm-generic/ioctls.h).
mod command {
    pub(super) const TCGETS: u32 = 0x5401;
    pub(super) const TCSETS: u32 = 0x5402;
    pub(super) const TCSETSW: u32 = 0x5403;
    pub(super) const TCSETSF: u32 = 0x5404;
    pub(super) const TCSBRK: u32 = 0x5409;
    pub(super) const TCXONC: u32 = 0x540a;
    pub(super) const TCFLSH: u32 = 0x540b;
    pub(super) const TIOCSCTTY: u32 = 0x540e;
    pub(super) const TIOCEXCL: u32 = 0x540c;
    pub(super) const TIOCNXCL: u32 = 0x540d;
    pub(super) const TIOCGPGRP: u32 = 0x540f;
    pub(super) const TIOCSPGRP: u32 = 0x5410;
    pub(super) const TIOCOUTQ: u32 = 0x5411;
    pub(super) const TIOCGWINSZ: u32 = 0x5413;
    pub(super) const TIOCSWINSZ: u32 = 0x5414;
    pub(super) const FIONREAD: u32 = 0x541b;
    pub(super) const TIOCPKT: u32 = 0x5420;
    pub(super) const TIOCNOTTY: u32 = 0x5422;
    pub(super) const TIOCGSID: u32 = 0x5429;
    pub(super) const TIOCGEXCL: u32 = 0x8004_5440;
    pub(super) const TIOCGPTN: u32 = 0x8004_5430;
    pub(super) const TIOCSPTLCK: u32 = 0x4004_5431;
    pub(super) const TIOCSIG: u32 = 0x4004_5436;
    pub(super) const TIOCGPKT: u32 = 0x8004_5438;
    pub(super) const TIOCGPTLCK: u32 = 0x8004_5439;
    pub(super) const TCGETS2: u32 = 0x802c_542a;
    pub(super) const TCSETS2: u32 = 0x402c_542b;
    pub(super) const TCSETSW2: u32 = 0x402c_542c;
    pub(super) const TCSETSF2: u32 = 0x402c_542d;
}

const SIGHUP: Signal = Signal(1);
const SIGCONT: Signal = Signal(18);
const SIGINT: Signal = Signal(2);
const SIGQUIT: Signal = Signal(3);
const SIGTSTP: Signal = Signal(20);
const SIGWINCH: Signal = Signal(28);

/// Takes what the terminal shows.
pub type OutputHook = Box<dyn Fn(&[u8]) + Send + Sync>;
/// Takes the signals that keys send.
pub type SignalHook = Box<dyn Fn(Signal) + Send + Sync>;

/// Where the terminal's output goes and its signals come out.
pub struct TtyHooks {
    /// Writes to the screen or line.
    pub output: OutputHook,
    /// Sends a signal to the foreground process group.
    pub signal: SignalHook,
}

struct State {
    settings: Settings,
    discipline: Discipline,
    window: WindowSize,
    /// The foreground process group of the session that it controls. 0: it controls none.
    foreground: u32,
    /// Nobody else may open it (`TIOCEXCL`), but who may everything: the program.
    exclusive: bool,
}

/// A terminal.
pub struct Tty {
    /// The screen that it is on, if it is on one.
    screen: Once<OnScreen>,
    own: Weak<Self>,
    number: u64,
    /// The process group, and session, that it can control.
    group: u32,
    hooks: TtyHooks,
    state: SpinLock<State>,
    notifier: Notifier,
}

impl Tty {
    /// The one open file that it is.
    fn file(&self) -> Result<FileRef, Errno> {
        let file: FileRef = self.own.upgrade().ok_or(Errno::ENXIO)?;
        Ok(file)
    }

    /// A terminal in cooked mode. `group`: the foreground process group and session.
    #[must_use]
    pub fn new(hooks: TtyHooks, group: u32) -> Arc<Self> {
        let tty = Self::detached(hooks, group);
        tty.state.lock().foreground = group;
        tty
    }

    /// A terminal in cooked mode that controls no session, and may be made to control that of `group`.
    fn detached(hooks: TtyHooks, group: u32) -> Arc<Self> {
        let state = State {
            settings: Settings::default(),
            discipline: Discipline::default(),
            window: WindowSize::default(),
            foreground: 0,
            exclusive: false,
        };
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            number: crate::anonymous::next_number(),
            group,
            hooks,
            state: SpinLock::new(state),
            notifier: Notifier::new(),
            screen: Once::new(),
        })
    }

    /// The terminal is on a screen: `show` lets its text be seen or not. Once.
    pub fn put_on_screen(&self, show: ShowHook) {
        self.screen.call_once(|| OnScreen::new(show));
    }

    /// What keys of the keyboard before its screen become.
    #[must_use]
    pub fn key_mode(&self) -> KeyMode {
        self.screen.get().map_or(KeyMode::Unicode, OnScreen::key_mode)
    }

    /// Takes typed bytes.
    pub fn input(&self, bytes: &[u8]) {
        let now = hal::clock::now();
        for byte in bytes {
            let effect = {
                let mut state = self.state.lock();
                let State { settings, discipline, .. } = &mut *state;
                discipline.take(*byte, settings, now)
            };
            if !effect.echo.is_empty() {
                self.emit(&effect.echo);
            }
            if let Some(signal) = effect.signal {
                (self.hooks.signal)(signal);
            }
        }
        self.notifier.notify(PollEvents::READABLE);
    }

    /// How many bytes may be typed now without loss.
    fn input_room(&self) -> usize {
        let state = self.state.lock();
        state.discipline.room(&state.settings)
    }

    /// The foreground process group; 0: it controls no session.
    fn foreground(&self) -> u32 {
        self.state.lock().foreground
    }

    /// It is no longer the terminal of its session, which learns of it.
    fn leave(&self) {
        (self.hooks.signal)(SIGHUP);
        (self.hooks.signal)(SIGCONT);
        self.state.lock().foreground = 0;
    }

    /// When a read that began at `since` and found too little is to be tried again although nothing
    /// was typed, and whether finding nothing then is its end.
    #[must_use]
    pub fn read_ends(&self, since: Instant) -> Option<(Instant, bool)> {
        let state = self.state.lock();
        state.discipline.read_ends(&state.settings, since)
    }

    /// The window changed: tells the program with SIGWINCH.
    pub fn set_window(&self, window: WindowSize) {
        let changed = {
            let mut state = self.state.lock();
            let changed = state.window != window;
            state.window = window;
            changed
        };
        if changed {
            (self.hooks.signal)(SIGWINCH);
        }
    }

    /// Writes as the output settings say.
    fn emit(&self, bytes: &[u8]) {
        let output = self.state.lock().settings.output;
        if !output.contains(OutputFlags::OPOST | OutputFlags::ONLCR) {
            (self.hooks.output)(bytes);
            return;
        }
        let mut lines = bytes.split(|byte| *byte == b'\n');
        if let Some(first) = lines.next()
            && !first.is_empty()
        {
            (self.hooks.output)(first);
        }
        for line in lines {
            (self.hooks.output)(b"\r\n");
            if !line.is_empty() {
                (self.hooks.output)(line);
            }
        }
    }

    fn set(
        &self,
        argument: &mut dyn IoctlArgument,
        length: usize,
        flush: bool,
    ) -> Result<(), Errno> {
        let mut bytes = [0; Settings::BYTES2];
        let bytes = bytes.get_mut(..length).unwrap_or_default();
        argument.load(bytes)?;
        let settings = Settings::decode(bytes);
        let mut state = self.state.lock();
        if flush {
            state.discipline.flush();
        }
        let State { settings: current, discipline, .. } = &mut *state;
        let canonical = settings.local.contains(LocalFlags::ICANON);
        if canonical != current.local.contains(LocalFlags::ICANON) {
            discipline.change_mode(canonical);
        }
        *current = settings;
        drop(state);
        self.notifier.notify(PollEvents::READABLE);
        Ok(())
    }

    fn store_u32(argument: &mut dyn IoctlArgument, value: u32) -> Result<usize, Errno> {
        argument.store(&value.to_le_bytes())?;
        Ok(0)
    }

    fn control(&self, number: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        match number {
            command::TCGETS | command::TCGETS2 => {
                let bytes = self.state.lock().settings.encode();
                let long = number == command::TCGETS2;
                let length = if long { Settings::BYTES2 } else { Settings::BYTES };
                argument.store(bytes.get(..length).unwrap_or_default())?;
            }
            command::TCSETS | command::TCSETSW => self.set(argument, Settings::BYTES, false)?,
            command::TCSETSF => self.set(argument, Settings::BYTES, true)?,
            command::TCSETS2 | command::TCSETSW2 => self.set(argument, Settings::BYTES2, false)?,
            command::TCSETSF2 => self.set(argument, Settings::BYTES2, true)?,
            // Output is never held back: there is nothing to drain, to stop or to discard.
            command::TCSBRK | command::TCXONC => {}
            command::TIOCSCTTY => {
                let mut state = self.state.lock();
                if state.foreground == 0 {
                    state.foreground = self.group;
                }
            }
            command::TIOCGPGRP | command::TIOCGSID | command::TIOCSPGRP | command::TIOCNOTTY
                if self.foreground() == 0 =>
            {
                return Err(Errno::ENOTTY);
            }
            command::TIOCNOTTY => self.leave(),
            command::TCFLSH => match argument.value() {
                0 | 2 => self.state.lock().discipline.flush(),
                1 => {}
                _ => return Err(Errno::EINVAL),
            },
            command::TIOCGPGRP | command::TIOCGSID => {
                let group = self.state.lock().foreground;
                return Self::store_u32(argument, group);
            }
            command::TIOCSPGRP => {
                let mut bytes = [0; 4];
                argument.load(&mut bytes)?;
                let group = u32::from_le_bytes(bytes);
                if group == 0 || i32::try_from(group).is_err() {
                    return Err(Errno::EINVAL);
                }
                self.state.lock().foreground = group;
            }
            command::TIOCEXCL | command::TIOCNXCL => {
                self.state.lock().exclusive = number == command::TIOCEXCL;
            }
            command::TIOCGEXCL => {
                let exclusive = self.state.lock().exclusive;
                return Self::store_u32(argument, u32::from(exclusive));
            }
            command::TIOCOUTQ => return Self::store_u32(argument, 0),
            command::FIONREAD => {
                let state = self.state.lock();
                let count = state.discipline.readable(&state.settings);
                drop(state);
                return Self::store_u32(argument, u32::try_from(count).unwrap_or(u32::MAX));
            }
            command::TIOCGWINSZ => {
                let bytes = self.state.lock().window.encode();
                argument.store(&bytes)?;
            }
            command::TIOCSWINSZ => {
                let mut bytes = [0; 8];
                argument.load(&mut bytes)?;
                self.set_window(WindowSize::decode(bytes));
            }
            _ => {
                let screen = self.screen.get().ok_or(Errno::ENOTTY)?;
                return screen.control(number, argument);
            }
        }
        Ok(0)
    }
}

impl File for Tty {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        let mut metadata = Metadata::anonymous(FileType::CharacterDevice, 0o620, self.number);
        metadata.special_device = crate::device::device_number(5, 1);
        Ok(metadata)
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if sink.room() == 0 {
            return Ok(0);
        }
        fill(sink, |sink, _| {
            let mut state = self.state.lock();
            let State { settings, discipline, .. } = &mut *state;
            discipline.give(settings, hal::clock::now(), sink)
        })
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        let mut done = 0;
        let mut bounce = [0; 512];
        while source.remaining() > 0 {
            match source.take(&mut bounce) {
                Ok(0) => break,
                Ok(count) => {
                    self.emit(bounce.get(..count).unwrap_or_default());
                    done += count;
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn poll(&self) -> PollEvents {
        let state = self.state.lock();
        let mut events = PollEvents::WRITABLE;
        if state.discipline.is_ready(&state.settings) {
            events |= PollEvents::READABLE;
        }
        events
    }

    fn sends_signals(&self) -> bool {
        true
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.notifier)
    }

    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn ioctl(&self, command: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        self.control(command, argument)
    }

    fn reopen(&self, _flags: OpenFlags) -> Result<FileRef, Errno> {
        self.file()
    }

    fn describe(&self) -> String {
        String::from("/dev/console")
    }
}

/// The terminal that an open file is.
#[must_use]
pub fn of(file: &FileRef) -> Option<&Tty> {
    let file = file.as_any();
    file.downcast_ref().or_else(|| file.downcast_ref().map(PtySlave::tty))
}

impl Device for Tty {
    fn open(&self, _who: &Who) -> Result<FileRef, Errno> {
        self.file()
    }
}

#[cfg(test)]
mod tests;
