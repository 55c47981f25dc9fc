//! Starting QEMU so that it never outlives `egg`, with its files in memory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::memfd::{self, MFdFlags};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Pid, getppid};

use crate::exit::{Code, Failure};
use crate::qemu::{self, Channel, Machine};
use crate::terminal;

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

/// Room in the pipe for the console's output. QEMU's serial port gives bytes up when it cannot
/// pass them on soon, and a pipe, unlike a socket, holds as many bytes as it has room for.
const CONSOLE_ROOM: i32 = 1 << 20;

/// A running QEMU with our ends of its streams. None of them blocks.
pub(crate) struct Launched {
    pub(crate) child: Child,
    /// The console's output.
    pub(crate) output: OwnedFd,
    /// The console's input.
    pub(crate) input: OwnedFd,
    /// The control channel.
    pub(crate) control: OwnedFd,
}

/// Starts QEMU in a process group of its own, by way of [`become_command`]. Its console is its
/// standard input and output, its control channel a socket that it inherits: `machine`'s channels
/// are set accordingly.
pub(crate) fn start(machine: &mut Machine, verbose: bool) -> anyhow::Result<Launched> {
    let (output, output_of_qemu) = io::pipe()?;
    let (input_of_qemu, input) = io::pipe()?;
    let (control, control_of_qemu) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty())?;
    // Less room is slower, no more.
    let _ = fcntl(&output, FcntlArg::F_SETPIPE_SZ(CONSOLE_ROOM));
    fcntl(&control, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    let (output, input) = (OwnedFd::from(output), OwnedFd::from(input));
    for ours in [&output, &input, &control] {
        fcntl(ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    machine.console = Channel::Stdio;
    machine.control = Channel::Socket(control_of_qemu.as_raw_fd());
    let arguments = machine.arguments();
    if verbose {
        terminal::say(&qemu::shell_line(machine));
    }
    let child = Command::new("/proc/self/exe")
        .arg0("egg")
        .arg("__exec")
        .arg(std::process::id().to_string())
        .arg(machine.program())
        .args(arguments)
        .process_group(0)
        .stdin(input_of_qemu)
        .stdout(output_of_qemu)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::of(Code::Usage, format!("cannot start a process: {error}")))?;
    Ok(Launched { child, output, input, control })
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
