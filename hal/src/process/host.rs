//! Starting the machine in this process.

use super::{clock, console, memory, panic, processor, trap};
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, RawFd};

/// What the machine is made of.
pub struct HostParts {
    /// Its memory in bytes; the image must fit.
    pub memory: u64,
    /// The image.
    pub image: File,
    /// The descriptor that lines for the host command go to.
    pub control: Option<RawFd>,
}

/// Starts the machine, with this thread as its first processor, and returns the image.
///
/// # Errors
/// The memory is too small, or Linux lacks what the machine needs.
pub fn start(mut parts: HostParts) -> io::Result<&'static [u8]> {
    panic::install();
    let archive = memory::init(parts.memory, &mut parts.image)?;
    clock::init();
    trap::install_handlers()?;
    trap::allow_barriers()?;
    processor::start(0)?;
    console::init(parts.control.map(duplicate).transpose()?)?;
    Ok(archive)
}

/// Does `work`, which may start threads: they get no signals that are meant for processors.
pub fn beside_processors<T>(work: impl FnOnce() -> T) -> T {
    trap::with_signals_blocked(work)
}

/// A file of our own for an inherited descriptor.
fn duplicate(fd: RawFd) -> io::Result<File> {
    // SAFETY: makes a new descriptor, or fails.
    let own = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if own < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { File::from_raw_fd(own) })
}
