//! Memory devices: /dev/null, zero, full, random, urandom; and what stands in /dev.

use crate::access::Who;
use crate::device::{Device, device_number};
use crate::file::{File, FileRef, IoctlArgument};
use crate::flags::Whence;
use crate::framebuffer::{self, FrameBuffer};
use crate::input::{self, InputDevice};
use crate::memory::{MemoryFs, put_zeros};
use crate::metadata::{FileType, Metadata};
use crate::tree::Vfs;
use crate::tty::{Controlling, DevPts, Ptys, Tty};
use alloc::sync::Arc;
use base::Errno;
use base::io::{Sink, Source, in_parts};
use core::any::Any;
use hal::memory::Frame;
use sched::Notifier;

/// Fills a buffer with random bytes.
pub type RandomHook = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What random(4) says once the generator is seeded, in bits.
const ENTROPY_BITS: i32 = 256;

const DEV: u64 = 5;
const SHM: u64 = 22;

#[derive(Clone)]
enum Kind {
    Null,
    Zero,
    Full,
    Random(RandomHook),
}

/// One of the memory devices.
struct MemoryDevice {
    kind: Kind,
    minor: u64,
    /// Random devices can be polled; the others are refused by epoll, as on Linux.
    notifier: Option<Notifier>,
}

impl MemoryDevice {
    fn new(kind: Kind, minor: u64) -> Arc<Self> {
        let notifier = matches!(kind, Kind::Random(_)).then(Notifier::new);
        Arc::new(Self { kind, minor, notifier })
    }
}

/// Takes everything from a source.
fn swallow(source: &mut dyn Source) -> Result<usize, Errno> {
    let mut bounce = [0; 512];
    in_parts(&mut |_| source.take(&mut bounce))
}

fn put_random(fill: &RandomHook, sink: &mut dyn Sink) -> Result<usize, Errno> {
    let mut bounce = [0; 256];
    in_parts(&mut |_| {
        let count = sink.room().min(bounce.len());
        let bytes = bounce.get_mut(..count).unwrap_or_default();
        fill(bytes);
        if bytes.is_empty() { Ok(0) } else { sink.put(bytes) }
    })
}

impl File for MemoryDevice {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        let mut metadata = Metadata::anonymous(FileType::CharacterDevice, 0o666, self.minor);
        metadata.special_device = device_number(1, self.minor);
        Ok(metadata)
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        match &self.kind {
            Kind::Null => Ok(0),
            Kind::Zero | Kind::Full => {
                let room = sink.room();
                put_zeros(sink, room)
            }
            Kind::Random(fill) => put_random(fill, sink),
        }
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        match &self.kind {
            // Nobody looks at the bytes: not even at whether they can be read.
            Kind::Null | Kind::Zero => {
                let count = source.remaining();
                Ok(count)
            }
            Kind::Full => Err(Errno::ENOSPC),
            Kind::Random(_) => swallow(source),
        }
    }

    fn takes_splices(&self) -> bool {
        !matches!(self.kind, Kind::Full)
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek(&self, position: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        match &self.kind {
            Kind::Random(_) => crate::file::seek_within(0, position, whence, offset),
            _ => Ok(0),
        }
    }

    fn notifier(&self) -> Option<&Notifier> {
        self.notifier.as_ref()
    }

    fn frame(&self, _page: u64, write: bool) -> Result<Frame, Errno> {
        match &self.kind {
            // A private mapping of /dev/zero is anonymous memory.
            Kind::Zero if !write => Frame::zeroed().map_err(|_| Errno::ENOMEM),
            _ => Err(Errno::ENODEV),
        }
    }

    fn ioctl(&self, command: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        const RNDGETENTCNT: u32 = 0x8004_5200;
        match (&self.kind, command) {
            (Kind::Random(_), RNDGETENTCNT) => {
                argument.store(&ENTROPY_BITS.to_le_bytes())?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}

/// Opens every time the same way.
struct MemoryDriver(Kind, u64);

impl Device for MemoryDriver {
    fn open(&self, _who: &Who) -> Result<FileRef, Errno> {
        let file: FileRef = MemoryDevice::new(self.0.clone(), self.1);
        Ok(file)
    }
}

/// Character devices: name, major, minor, permissions.
const NODES: &[(&str, u64, u64, u32)] = &[
    ("null", 1, 3, 0o666),
    ("zero", 1, 5, 0o666),
    ("full", 1, 7, 0o666),
    ("random", 1, 8, 0o666),
    ("urandom", 1, 9, 0o666),
    ("tty", 5, 0, 0o666),
    ("ptmx", 5, 2, 0o666),
    ("console", 5, 1, 0o600),
    ("ttyS0", 4, 64, 0o600),
];

/// Makes a screen /dev/fb0, and the terminal on it /dev/tty0 and /dev/tty1.
///
/// # Errors
/// As mknod(2): `ENOSPC`, and `EEXIST` for a second one.
pub fn add_screen(vfs: &Vfs, picture: Arc<FrameBuffer>, tty: &Arc<Tty>) -> Result<(), Errno> {
    vfs.register_device(framebuffer::NUMBER, picture);
    let nodes: [(&[u8], u64, u32); 3] = [
        (b"/dev/fb0", framebuffer::NUMBER, 0o660),
        (b"/dev/tty0", device_number(4, 0), 0o620),
        (b"/dev/tty1", device_number(4, 1), 0o620),
    ];
    for (path, number, permissions) in nodes {
        if number != framebuffer::NUMBER {
            vfs.register_device(number, Arc::clone(tty) as Arc<dyn Device>);
        }
        vfs.mknod(vfs.at_root(), path, FileType::CharacterDevice, permissions, number)?;
    }
    Ok(())
}

/// Makes an input device /dev/input/event and its number.
///
/// # Errors
/// As mknod(2): `ENOSPC`, and `EEXIST` for a second one of that number.
pub fn add_input(vfs: &Vfs, device: &Arc<InputDevice>) -> Result<(), Errno> {
    let (index, number) = (device.index(), input::device_number(device.index()));
    vfs.register_device(number, Arc::clone(device) as _);
    let at = vfs.at_root();
    match vfs.mkdir(at, b"/dev/input", 0o755) {
        Ok(_) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let path = alloc::format!("/dev/input/event{index}");
    vfs.mknod(at, path.as_bytes(), FileType::CharacterDevice, 0o660, number).map(|_| ())
}

/// Symbolic links.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Mounts /dev and /dev/shm, and makes the devices work.
///
/// # Errors
/// As mount(2) and mknod(2): `ENOSPC`.
pub fn mount(vfs: &Vfs, random: &RandomHook, tty: Arc<Tty>) -> Result<(), Errno> {
    let kinds = [
        (3, Kind::Null),
        (5, Kind::Zero),
        (7, Kind::Full),
        (8, Kind::Random(Arc::clone(random))),
        (9, Kind::Random(Arc::clone(random))),
    ];
    for (minor, kind) in kinds {
        vfs.register_device(device_number(1, minor), Arc::new(MemoryDriver(kind, minor)));
    }
    for (major, minor) in [(5, 1), (4, 64)] {
        vfs.register_device(device_number(major, minor), Arc::clone(&tty) as Arc<dyn Device>);
    }
    let ptys = Ptys::new(tty);
    vfs.register_device(device_number(5, 0), Arc::new(Controlling(Arc::clone(&ptys))));
    vfs.register_device(device_number(5, 2), Arc::new(Arc::clone(&ptys)));
    vfs.mount("/dev", MemoryFs::root("devtmpfs", DEV, 0o755), "devtmpfs", "rw,mode=755")?;
    let at = vfs.at_root();
    for (name, major, minor, permissions) in NODES {
        let path = alloc::format!("/dev/{name}");
        let number = device_number(*major, *minor);
        vfs.mknod(at, path.as_bytes(), FileType::CharacterDevice, *permissions, number)?;
    }
    for (name, target) in LINKS {
        let path = alloc::format!("/dev/{name}");
        vfs.symlink(target.as_bytes(), at, path.as_bytes())?;
    }
    let options = "rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=000";
    vfs.mount("/dev/pts", DevPts::root(&ptys), "devpts", options)?;
    vfs.mount("/dev/shm", MemoryFs::root("tmpfs", SHM, 0o1777), "tmpfs", "rw,nosuid,nodev")
}
