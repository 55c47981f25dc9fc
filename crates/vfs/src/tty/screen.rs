//! What a terminal on a screen can besides (Linux: ioctl_console(2)): it is the first of one virtual
//! consoles.

use crate::file::IoctlArgument;
use alloc::boxed::Box;
use base::Errno;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

/// Lets the text be seen, or leaves the screen to the program.
pub type ShowHook = Box<dyn Fn(bool) + Send + Sync>;

/// What the keyboard's keys become for whoever reads the terminal (KDSKBMODE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyMode {
    /// The codes of a PC's keyboard, of set 1 (K_RAW).
    Raw,
    /// Characters of one byte, of Latin-1 (K_XLATE).
    Latin,
    /// Linux's numbers of keys (K_MEDIUMRAW).
    MediumRaw,
    /// UTF-8 (K_UNICODE).
    Unicode,
    /// Nothing (K_OFF).
    Off,
}

impl KeyMode {
    /// In the order of their numbers (include/uapi/linux/kd.h).
    const ALL: [Self; 5] = [Self::Raw, Self::Latin, Self::MediumRaw, Self::Unicode, Self::Off];
}

/// ioctl commands (include/uapi/linux/kd.h, vt.h).
mod command {
    pub(super) const KDGKBTYPE: u32 = 0x4b33;
    pub(super) const KDSETMODE: u32 = 0x4b3a;
    pub(super) const KDGETMODE: u32 = 0x4b3b;
    pub(super) const KDGKBMODE: u32 = 0x4b44;
    pub(super) const KDSKBMODE: u32 = 0x4b45;
    pub(super) const VT_OPENQRY: u32 = 0x5600;
    pub(super) const VT_GETMODE: u32 = 0x5601;
    pub(super) const VT_GETSTATE: u32 = 0x5603;
    pub(super) const VT_ACTIVATE: u32 = 0x5606;
    pub(super) const VT_WAITACTIVE: u32 = 0x5607;
}

/// A terminal's screen.
pub(super) struct OnScreen {
    show: ShowHook,
    graphics: AtomicBool,
    /// A [`KeyMode`].
    key_mode: AtomicU8,
}

impl OnScreen {
    pub(super) fn new(show: ShowHook) -> Self {
        let key_mode = AtomicU8::new(KeyMode::Unicode as u8);
        Self { show, graphics: AtomicBool::new(false), key_mode }
    }

    pub(super) fn key_mode(&self) -> KeyMode {
        let number = usize::from(self.key_mode.load(Relaxed));
        KeyMode::ALL.get(number).copied().unwrap_or(KeyMode::Unicode)
    }

    pub(super) fn control(
        &self,
        number: u32,
        argument: &mut dyn IoctlArgument,
    ) -> Result<usize, Errno> {
        const KB_101: u8 = 2;
        const TEXT: u32 = 0;
        const GRAPHICS: u32 = 1;
        const THE_ONLY: u64 = 1;
        let value = argument.value();
        match number {
            command::KDGKBTYPE => argument.store(&[KB_101])?,
            command::KDGETMODE => {
                let mode = if self.graphics.load(Relaxed) { GRAPHICS } else { TEXT };
                argument.store(&mode.to_le_bytes())?;
            }
            command::KDSETMODE => {
                // 2 and 3 are obsolete names of text.
                let graphics = match value {
                    0 | 2 | 3 => false,
                    1 => true,
                    _ => return Err(Errno::EINVAL),
                };
                if self.graphics.swap(graphics, Relaxed) != graphics {
                    (self.show)(!graphics);
                }
            }
            command::KDGKBMODE => {
                let mode = self.key_mode() as u32;
                argument.store(&mode.to_le_bytes())?;
            }
            command::KDSKBMODE => {
                let mode = KeyMode::ALL.iter().find(|mode| **mode as u64 == value);
                self.key_mode.store(*mode.ok_or(Errno::EINVAL)? as u8, Relaxed);
            }
            command::VT_OPENQRY => argument.store(&(-1_i32).to_le_bytes())?,
            // Automatic: nobody is asked before another console is shown.
            command::VT_GETMODE => argument.store(&[0; 8])?,
            // Number 1 is shown; it is in use, and so is 0, which means that one.
            command::VT_GETSTATE => argument.store(&[1, 0, 0, 0, 0b11, 0])?,
            command::VT_ACTIVATE | command::VT_WAITACTIVE if value == THE_ONLY => {}
            command::VT_ACTIVATE | command::VT_WAITACTIVE => return Err(Errno::ENXIO),
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }
}
