//! The tree of files that the program finds: the archive, and /dev, /proc and /sys on it.

use crate::console::Console;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use base::io::SliceSource;
use base::{Errno, Fd};
use bundle::Archive;
use syscalls::machine::Machine;
use syscalls::process::Process;
use vfs::archive::{self, RootError};
use vfs::file::FileRef;
use vfs::flags::OpenFlags;
use vfs::open::OpenFile;
use vfs::tree::Vfs;

/// The tree, with devices; /proc follows when there is a process.
pub(crate) fn build(
    archive: &Archive<'static>,
    machine: &Arc<Machine>,
    console: &Console,
) -> Result<Arc<Vfs>, RootError> {
    let vfs = Vfs::new(archive::root_of(archive)?);
    let random = {
        let machine = Arc::clone(machine);
        Arc::new(move |into: &mut [u8]| machine.random.fill(into)) as vfs::dev::RandomHook
    };
    vfs::dev::mount(&vfs, &random, Arc::clone(&console.tty))?;
    Ok(vfs)
}

/// Mounts /proc and /sys for `process`.
pub(crate) fn mount_proc(process: &Arc<Process>) -> Result<(), Errno> {
    let weak: Weak<Process> = Arc::downgrade(process);
    process.vfs.mount_pseudo(weak)
}

/// Opens descriptors 0, 1 and 2.
pub(crate) fn open_standard_streams(process: &Process, console: &Console) -> Result<(), Errno> {
    let open = match console.plain() {
        Some(plain) => {
            let file: FileRef = plain;
            OpenFile::new(file, OpenFlags::RDWR)
        }
        None => {
            let flags = OpenFlags::RDWR | OpenFlags::NOCTTY;
            process.vfs.open(process.vfs.at_root(), b"/dev/console", flags, 0)?
        }
    };
    for number in 0..3 {
        let fd = process.files.insert(Arc::clone(&open), false)?;
        debug_assert_eq!(fd, Fd(number));
    }
    Ok(())
}

/// Writes a small file, in place of the old one.
pub(crate) fn write_file(vfs: &Vfs, path: &str, text: &str) -> Result<(), Errno> {
    let flags = OpenFlags::WRONLY | OpenFlags::CREAT | OpenFlags::TRUNC;
    let file = vfs.open(vfs.at_root(), path.as_bytes(), flags, 0o644)?;
    let mut source = SliceSource::new(text.as_bytes());
    file.write(&mut source).map(|_| ())
}

/// What os-release(5) says of the system, for programs that report where they run.
const OS_RELEASE: &str = concat!(
    "NAME=\"eggos\"\nID=eggos\nVERSION=\"",
    env!("CARGO_PKG_VERSION"),
    "\"\nVERSION_ID=\"",
    env!("CARGO_PKG_VERSION"),
    "\"\nPRETTY_NAME=\"eggos ",
    env!("CARGO_PKG_VERSION"),
    "\"\n"
);

/// Writes those of the files every resolver expects that the archive did not bring.
pub(crate) fn write_missing(vfs: &Vfs, hostname: &str) -> Result<(), Errno> {
    let hosts = alloc::format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    );
    let files: [(&str, String); 6] = [
        ("/etc/hosts", hosts),
        ("/etc/hostname", alloc::format!("{hostname}\n")),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n".into()),
        ("/etc/group", "root:x:0:\n".into()),
        ("/etc/nsswitch.conf", "hosts: files dns\n".into()),
        ("/etc/os-release", OS_RELEASE.into()),
    ];
    for (path, text) in files {
        if vfs.resolve(vfs.at_root(), path.as_bytes(), true).is_err() {
            write_file(vfs, path, &text)?;
        }
    }
    Ok(())
}
