//! Starting QEMU so that it never outlives `egg`, with its files in memory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::memfd::{self, MFdFlags};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Pid, getppid};

use crate::exit::{Code, Failure};
use crate::qemu;

/// Contents that QEMU reads by a path, without a file that could stay behind.
pub(crate) struct MemoryFile {
    file: File,
}

impl MemoryFile {
    /// A file with those contents. Children inherit it.
    pub(crate) fn new(name: &str, contents: &[u8]) -> io::Result<Self> {
        let mut file = File::from(memfd::memfd_create(name, MFdFlags::empty())?);
        file.write_all(contents)?;
        Ok(Self { file })
    }

    /// Its path in a child.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// Both ends of a byte stream: ours does not block and is closed in children, theirs is inherited.
pub(crate) fn stream() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty())?;
    nix::fcntl::fcntl(&ours, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    nix::fcntl::fcntl(&ours, nix::fcntl::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

/// Starts QEMU in a process group of its own, by way of [`become_command`].
pub(crate) fn spawn(arguments: &[OsString]) -> anyhow::Result<Child> {
    let child = Command::new("/proc/self/exe")
        .arg0("egg")
        .arg("__exec")
        .arg(std::process::id().to_string())
        .arg(qemu::PROGRAM)
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    child.map_err(|error| Failure::of(Code::Usage, format!("cannot start a process: {error}")))
}

/// The exit status of [`become_command`] when there is no such command.
pub(crate) const NO_COMMAND: i32 = 127;

/// Turns this process into `command`, to be killed when the parent ends, however that happens.
/// Comes back only with an error.
pub(crate) fn become_command(parent: i32, command: &[OsString]) -> anyhow::Error {
    let wanted = prctl::set_pdeathsig(Signal::SIGKILL);
    // The parent may have died before it could be watched.
    if wanted.is_err() || getppid() != Pid::from_raw(parent) {
        return Failure::of(Code::Usage, "the parent process is gone");
    }
    // What `egg` waits for by signalfd is blocked, and would be here.
    let _ = SigSet::empty().thread_set_mask();
    let Some((program, arguments)) = command.split_first() else {
        return Failure::of(Code::Usage, "no command");
    };
    let error = Command::new(program).args(arguments).exec();
    if error.kind() == io::ErrorKind::NotFound {
        return Failure::of(Code::NotFound, "not found");
    }
    Failure::of(Code::Usage, format!("cannot start {}: {error}", program.to_string_lossy()))
}
