//! The same random operations on Linux (in a directory of /dev/shm, a tmpfs) and on our tree:
//! every result and every errno must agree.
//!
//! Paths use few names, so that they meet. Links and paths from descriptors never hold `..`, others
//! no more than three, and both sides work several directories deep: nothing leaves the test's
//! directory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use base::Errno;
use base::io::{SliceSink, SliceSource};
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, RenameFlags as LinuxRename, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use vfs::access::ROOT;
use vfs::attributes::{set_permissions, truncate};
use vfs::memory::MemoryFs;
use vfs::{At, FileType, InodeRef, OpenFile, OpenFlags, RenameFlags, Vfs, Whence};

const DEPTH: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    Open { path: String, flags: u32, mode: u32 },
    OpenIn { directory: usize, path: String, flags: u32 },
    Close(usize),
    Write { file: usize, count: usize, byte: u8 },
    Read { file: usize, count: usize },
    WriteAt { file: usize, count: usize, offset: u64 },
    ReadAt { file: usize, count: usize, offset: u64 },
    Seek { file: usize, whence: u32, offset: i64 },
    SetLength { file: usize, bytes: u64 },
    Allocate { file: usize, mode: u32, offset: u64, bytes: u64 },
    Status(usize),
    Mkdir { path: String, mode: u32 },
    Rmdir(String),
    Unlink(String),
    Rename { from: String, to: String, flags: u32 },
    Link { from: String, to: String, follow: bool },
    Symlink { target: String, path: String },
    Readlink(String),
    Stat { path: String, follow: bool },
    Chmod { path: String, mode: u32 },
    Truncate { path: String, bytes: u64 },
    Fifo(String),
    List(String),
}

type Answer = Result<String, i32>;

/// Linux.
struct Real {
    base: OwnedFd,
    files: Vec<OwnedFd>,
    _keep: tempfile::TempDir,
}

/// Our tree.
struct Ours {
    vfs: Arc<Vfs>,
    base: InodeRef,
    files: Vec<Arc<OpenFile>>,
}

fn linux<T>(result: rustix::io::Result<T>, show: impl FnOnce(T) -> String) -> Answer {
    result.map(show).map_err(|errno| errno.raw_os_error())
}

fn ours<T>(result: Result<T, Errno>, show: impl FnOnce(T) -> String) -> Answer {
    result.map(show).map_err(|errno| i32::from(errno.number()))
}

fn done<T>(_: T) -> String {
    String::new()
}

/// Which bytes, without printing thousands of them.
fn digest(bytes: &[u8]) -> String {
    let sum =
        bytes.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} bytes, {sum:x}", bytes.len())
}

fn show_status(mode: u32, links: u64, bytes: u64) -> String {
    // How a file system counts the bytes of a directory is its own affair.
    let bytes = if mode & 0o170_000 == 0o040_000 { 0 } else { bytes };
    format!("{mode:o} links {links} bytes {bytes}")
}

impl Real {
    fn new() -> Self {
        let keep = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = keep.path().join("x/".repeat(DEPTH));
        std::fs::create_dir_all(&path).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let base = rustix::fs::openat(CWD, &path, flags, Mode::empty()).unwrap();
        Self { base, files: Vec::new(), _keep: keep }
    }

    fn file(&self, index: usize) -> Option<&OwnedFd> {
        self.files.get(index % self.files.len().max(1))
    }

    fn open(&mut self, base: Option<usize>, path: &str, flags: u32, mode: u32) -> Answer {
        let flags = OFlags::from_bits_retain(flags);
        let mode = Mode::from_bits_retain(mode);
        let opened = match base.and_then(|index| self.file(index)) {
            Some(base) => rustix::fs::openat(base, path, flags, mode),
            None => rustix::fs::openat(&self.base, path, flags, mode),
        };
        linux(opened.map(|fd| self.files.push(fd)), done)
    }

    fn apply(&mut self, op: &Op) -> Answer {
        let base = &self.base;
        let mode_of = |mode: &u32| Mode::from_bits_retain(*mode);
        let none = || Ok(String::new());
        match op {
            Op::Open { path, flags, mode } => self.open(None, path, *flags, *mode),
            Op::OpenIn { directory, path, flags } => self.open(Some(*directory), path, *flags, 0),
            Op::Close(index) => {
                let count = self.files.len();
                if count > 0 {
                    self.files.remove(index % count);
                }
                none()
            }
            Op::Write { file, count, byte } => self.file(*file).map_or_else(none, |fd| {
                linux(rustix::io::write(fd, &vec![*byte; *count]), |count| count.to_string())
            }),
            Op::Read { file, count } => self.file(*file).map_or_else(none, |fd| {
                let mut buffer = vec![0; *count];
                let result = rustix::io::read(fd, &mut buffer[..]);
                linux(result, |count| digest(&buffer[..count]))
            }),
            Op::WriteAt { file, count, offset } => self.file(*file).map_or_else(none, |fd| {
                let written = rustix::io::pwrite(fd, &vec![b'w'; *count], *offset);
                linux(written, |count| count.to_string())
            }),
            Op::ReadAt { file, count, offset } => self.file(*file).map_or_else(none, |fd| {
                let mut buffer = vec![0; *count];
                let result = rustix::io::pread(fd, &mut buffer[..], *offset);
                linux(result, |count| digest(&buffer[..count]))
            }),
            Op::Seek { file, whence, offset } => self.file(*file).map_or_else(none, |fd| {
                let from = match whence {
                    0 => match u64::try_from(*offset) {
                        Ok(offset) => SeekFrom::Start(offset),
                        Err(_) => return none(),
                    },
                    1 => SeekFrom::Current(*offset),
                    2 => SeekFrom::End(*offset),
                    3 => SeekFrom::Data(offset.unsigned_abs()),
                    _ => SeekFrom::Hole(offset.unsigned_abs()),
                };
                linux(rustix::fs::seek(fd, from), |offset| offset.to_string())
            }),
            Op::SetLength { file, bytes } => self
                .file(*file)
                .map_or_else(none, |fd| linux(rustix::fs::ftruncate(fd, *bytes), done)),
            Op::Allocate { file, mode, offset, bytes } => {
                self.file(*file).map_or_else(none, |fd| {
                    let mode = rustix::fs::FallocateFlags::from_bits_retain(*mode);
                    linux(rustix::fs::fallocate(fd, mode, *offset, *bytes), done)
                })
            }
            Op::Status(file) => self.file(*file).map_or_else(none, |fd| {
                linux(rustix::fs::fstat(fd), |stat| {
                    show_status(stat.st_mode, stat.st_nlink, stat.st_size as u64)
                })
            }),
            Op::Mkdir { path, mode } => linux(rustix::fs::mkdirat(base, path, mode_of(mode)), done),
            Op::Rmdir(path) => linux(rustix::fs::unlinkat(base, path, AtFlags::REMOVEDIR), done),
            Op::Unlink(path) => linux(rustix::fs::unlinkat(base, path, AtFlags::empty()), done),
            Op::Rename { from, to, flags } => {
                let flags = LinuxRename::from_bits_retain(*flags);
                linux(rustix::fs::renameat_with(base, from, base, to, flags), done)
            }
            Op::Link { from, to, follow } => {
                let flags = if *follow { AtFlags::SYMLINK_FOLLOW } else { AtFlags::empty() };
                linux(rustix::fs::linkat(base, from, base, to, flags), done)
            }
            Op::Symlink { target, path } => linux(rustix::fs::symlinkat(target, base, path), done),
            Op::Readlink(path) => linux(rustix::fs::readlinkat(base, path, Vec::new()), |text| {
                text.into_string().unwrap()
            }),
            Op::Stat { path, follow } => {
                let flags = if *follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
                linux(rustix::fs::statat(base, path, flags), |stat| {
                    show_status(stat.st_mode, stat.st_nlink, stat.st_size as u64)
                })
            }
            Op::Chmod { path, mode } => {
                linux(rustix::fs::chmodat(base, path, mode_of(mode), AtFlags::empty()), done)
            }
            Op::Truncate { path, bytes } => self.truncate(path, *bytes),
            Op::Fifo(path) => {
                let kind = rustix::fs::FileType::Fifo;
                linux(rustix::fs::mknodat(base, path, kind, Mode::from_bits_retain(0o600), 0), done)
            }
            Op::List(path) => self.list(path),
        }
    }

    /// There is no truncateat: by way of /proc/self/fd, so that the path starts at the base.
    fn truncate(&self, path: &str, bytes: u64) -> Answer {
        use std::os::fd::AsRawFd;
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("/proc/self/fd/{}/{path}", self.base.as_raw_fd())
        };
        let path = std::ffi::CString::new(path).unwrap();
        truncate_path(&path, bytes)
    }

    fn list(&self, path: &str) -> Answer {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let result = rustix::fs::openat(&self.base, path, flags, Mode::empty()).and_then(|fd| {
            let mut names = Vec::new();
            let mut buffer = vec![MaybeUninit::uninit(); 4096];
            let mut entries = RawDir::new(fd, &mut buffer);
            while let Some(entry) = entries.next() {
                let entry = entry?;
                names.push(format!("{:?} {:?}", entry.file_name(), entry.file_type()));
            }
            Ok(names)
        });
        linux(result, |mut names| {
            names.retain(|name| !name.starts_with("\".\"") && !name.starts_with("\"..\""));
            names.sort();
            names.join(", ")
        })
    }
}

/// truncate(2) through the standard library only: opening for writing and cutting differs in the
/// errors for directories, so those are told apart first.
fn truncate_path(path: &std::ffi::CStr, bytes: u64) -> Answer {
    use rustix::fs::FileType as Kind;
    let status = rustix::fs::statat(CWD, path, AtFlags::empty());
    let status = match status {
        Ok(status) => status,
        Err(errno) => return Err(errno.raw_os_error()),
    };
    match Kind::from_raw_mode(status.st_mode) {
        Kind::RegularFile => {}
        Kind::Directory => return Err(i32::from(Errno::EISDIR.number())),
        _ => return Err(i32::from(Errno::EINVAL.number())),
    }
    let opened = rustix::fs::openat(CWD, path, OFlags::WRONLY, Mode::empty());
    linux(opened.and_then(|fd| rustix::fs::ftruncate(fd, bytes)), done)
}

impl Ours {
    fn new() -> Self {
        let vfs = Vfs::new(MemoryFs::root("tmpfs", 2, 0o755));
        let mut path = String::new();
        for _ in 0..DEPTH {
            path.push_str("/x");
            vfs.mkdir(vfs.at_root(), path.as_bytes(), 0o777).unwrap();
        }
        let base = vfs.resolve(vfs.at_root(), path.as_bytes(), true).unwrap().inode;
        Self { vfs, base, files: Vec::new() }
    }

    fn file(&self, index: usize) -> Option<&Arc<OpenFile>> {
        self.files.get(index % self.files.len().max(1))
    }

    fn at(&self) -> At<'_> {
        At::new(&self.base, self.vfs.root())
    }

    fn open(&mut self, base: Option<usize>, path: &str, flags: u32, mode: u32) -> Answer {
        let directory = match base.and_then(|index| self.file(index)) {
            Some(open) => match open.inode() {
                Some(inode) => inode.clone(),
                None => return Err(i32::from(Errno::ENOTDIR.number())),
            },
            None => self.base.clone(),
        };
        let at = At::new(&directory, self.vfs.root());
        let opened = self.vfs.open(at, path.as_bytes(), OpenFlags::of_open(flags), mode);
        ours(opened.map(|open| self.files.push(open)), done)
    }

    fn stat(&self, path: &str, follow: bool) -> Answer {
        let found = self.vfs.find(self.at(), path.as_bytes(), follow);
        ours(found.and_then(|found| found.metadata()), |status| {
            let mode = status.kind as u32 | status.permissions;
            show_status(mode, u64::from(status.links), status.bytes)
        })
    }

    fn apply(&mut self, op: &Op) -> Answer {
        let none = || Ok(String::new());
        let vfs = Arc::clone(&self.vfs);
        match op {
            Op::Open { path, flags, mode } => self.open(None, path, *flags, *mode),
            Op::OpenIn { directory, path, flags } => self.open(Some(*directory), path, *flags, 0),
            Op::Close(index) => {
                let count = self.files.len();
                if count > 0 {
                    self.files.remove(index % count);
                }
                none()
            }
            Op::Write { file, count, byte } => self.file(*file).map_or_else(none, |open| {
                let bytes = vec![*byte; *count];
                ours(open.write(&mut SliceSource::new(&bytes)), |count| count.to_string())
            }),
            Op::Read { file, count } => self.file(*file).map_or_else(none, |open| {
                let mut buffer = vec![0; *count];
                let result = open.read(&mut SliceSink::new(&mut buffer));
                ours(result, |count| digest(&buffer[..count]))
            }),
            Op::WriteAt { file, count, offset } => self.file(*file).map_or_else(none, |open| {
                let bytes = vec![b'w'; *count];
                let written = open.write_at(*offset, &mut SliceSource::new(&bytes));
                ours(written, |count| count.to_string())
            }),
            Op::ReadAt { file, count, offset } => self.file(*file).map_or_else(none, |open| {
                let mut buffer = vec![0; *count];
                let result = open.read_at(*offset, &mut SliceSink::new(&mut buffer));
                ours(result, |count| digest(&buffer[..count]))
            }),
            Op::Seek { file, whence, offset } => self.file(*file).map_or_else(none, |open| {
                let offset = if *whence > 2 { offset.abs() } else { *offset };
                if *whence == 0 && offset < 0 {
                    return none();
                }
                let whence = Whence::decode(*whence).unwrap();
                ours(open.seek(whence, offset), |offset| offset.to_string())
            }),
            Op::SetLength { file, bytes } => {
                self.file(*file).map_or_else(none, |open| ours(set_length(open, *bytes), done))
            }
            Op::Allocate { file, mode, offset, bytes } => {
                self.file(*file).map_or_else(none, |open| {
                    let result = open.allocate(*mode, *offset as i64, *bytes as i64);
                    ours(result, done)
                })
            }
            Op::Status(file) => self.file(*file).map_or_else(none, |open| {
                ours(open.metadata(), |status| {
                    let mode = status.kind as u32 | status.permissions;
                    show_status(mode, u64::from(status.links), status.bytes)
                })
            }),
            Op::Mkdir { path, mode } => ours(vfs.mkdir(self.at(), path.as_bytes(), *mode), done),
            Op::Rmdir(path) => ours(vfs.rmdir(self.at(), path.as_bytes()), done),
            Op::Unlink(path) => ours(vfs.unlink(self.at(), path.as_bytes()), done),
            Op::Rename { from, to, flags } => {
                let flags = RenameFlags::from_bits_retain(*flags);
                let (from, to) = (from.as_bytes(), to.as_bytes());
                ours(vfs.rename(self.at(), from, self.at(), to, flags), done)
            }
            Op::Link { from, to, follow } => {
                let target = vfs.resolve(self.at(), from.as_bytes(), *follow);
                let linked =
                    target.and_then(|place| vfs.link(&place.inode, self.at(), to.as_bytes()));
                ours(linked, done)
            }
            Op::Symlink { target, path } => {
                ours(vfs.symlink(target.as_bytes(), self.at(), path.as_bytes()), done)
            }
            Op::Readlink(path) => {
                let found = vfs.resolve(self.at(), path.as_bytes(), false);
                let text = found.and_then(|place| place.inode.link_text());
                ours(text, |text| String::from_utf8(text).unwrap())
            }
            Op::Stat { path, follow } => self.stat(path, *follow),
            Op::Chmod { path, mode } => {
                let found = vfs.resolve(self.at(), path.as_bytes(), true);
                ours(found.and_then(|place| set_permissions(&ROOT, &place, *mode)), done)
            }
            Op::Truncate { path, bytes } => {
                let found = vfs.resolve(self.at(), path.as_bytes(), true);
                ours(found.and_then(|place| truncate(&ROOT, &place, *bytes)), done)
            }
            Op::Fifo(path) => {
                let made = vfs.mknod(self.at(), path.as_bytes(), FileType::Fifo, 0o600, 0);
                ours(made, done)
            }
            Op::List(path) => self.list(path),
        }
    }

    fn list(&self, path: &str) -> Answer {
        let flags = OpenFlags::of_open(OpenFlags::NONBLOCK.bits());
        let mut names = Vec::new();
        let result = self.vfs.open(self.at(), path.as_bytes(), flags, 0).and_then(|open| {
            let inode = open.inode().cloned().unwrap();
            if inode.kind() != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
            inode.list(0, &mut |entry| {
                let name = std::ffi::CString::new(entry.name).unwrap();
                let kind = rustix::fs::FileType::from_raw_mode(entry.kind as u32);
                names.push(format!("{name:?} {kind:?}"));
                true
            })
        });
        ours(result, |()| {
            names.sort();
            names.join(", ")
        })
    }
}

/// As the system call checks it.
fn set_length(open: &OpenFile, bytes: u64) -> Result<(), Errno> {
    open.usable()?;
    let place = open.place().ok_or(Errno::EINVAL)?;
    if place.inode.kind() != FileType::Regular || open.writable().is_err() {
        return Err(Errno::EINVAL);
    }
    truncate(&ROOT, &place, bytes)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned),
        1 => Just(".".to_owned()),
        1 => Just("n".repeat(255)),
        1 => Just("n".repeat(256)),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let dots = prop_oneof![6 => Just(0_usize), 2 => Just(1), 1 => Just(2), 1 => Just(3)];
    let slashes = prop_oneof![8 => Just(""), 1 => Just("/"), 1 => Just("//")];
    (prop::collection::vec(name(), 0..4), dots, 0_usize..4, slashes).prop_map(
        |(mut names, dots, at, slashes)| {
            for _ in 0..dots {
                names.insert(at.min(names.len()), "..".to_owned());
            }
            let path = names.join("/");
            if path.is_empty() { path } else { path + slashes }
        },
    )
}

fn target() -> impl Strategy<Value = String> {
    let slashes = prop_oneof![4 => Just(""), 1 => Just("/")];
    (prop::collection::vec(name(), 0..3), slashes)
        .prop_map(|(names, slashes)| names.join("/") + if names.is_empty() { "" } else { slashes })
}

fn flags() -> impl Strategy<Value = u32> {
    let mode = prop_oneof![4 => Just(2_u32), 2 => Just(0), 2 => Just(1)];
    let rest = prop::sample::subsequence(
        vec![0o100_u32, 0o200, 0o1_000, 0o2_000, 0o200_000, 0o400_000, 0o10_000_000],
        0..4,
    );
    (mode, rest, any::<bool>()).prop_map(|(mode, rest, create)| {
        let flags = rest.into_iter().fold(mode, |flags, bit| flags | bit);
        // Never block on a FIFO.
        flags | 0o4_000 | if create { 0o100 } else { 0 }
    })
}

fn temporary_file() -> impl Strategy<Value = u32> {
    (0_u32..3).prop_map(|mode| mode | 0o4_000 | 0o20_200_000)
}

fn count() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0_usize), 1_usize..10, Just(4096), 4000_usize..9000, Just(70_000)]
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0_u64), 1_u64..100, 4090_u64..4100, 0_u64..300_000]
}

fn op() -> impl Strategy<Value = Op> {
    let index = 0_usize..8;
    let mode = prop::sample::select(vec![0o755_u32, 0o644, 0o777, 0o1777, 0o2755, 0o4711]);
    let open_flags = prop_oneof![9 => flags(), 1 => temporary_file()];
    prop_oneof![
        8 => (path(), open_flags, mode.clone())
            .prop_map(|(path, flags, mode)| Op::Open { path, flags, mode }),
        2 => (index.clone(), target(), flags())
            .prop_map(|(directory, path, flags)| Op::OpenIn { directory, path, flags }),
        3 => index.clone().prop_map(Op::Close),
        3 => (index.clone(), count(), any::<u8>())
            .prop_map(|(file, count, byte)| Op::Write { file, count, byte }),
        3 => (index.clone(), count()).prop_map(|(file, count)| Op::Read { file, count }),
        2 => (index.clone(), count(), offset())
            .prop_map(|(file, count, offset)| Op::WriteAt { file, count, offset }),
        2 => (index.clone(), count(), offset())
            .prop_map(|(file, count, offset)| Op::ReadAt { file, count, offset }),
        2 => (index.clone(), 0_u32..5, -5_000_i64..300_000)
            .prop_map(|(file, whence, offset)| Op::Seek { file, whence, offset }),
        2 => (index.clone(), offset()).prop_map(|(file, bytes)| Op::SetLength { file, bytes }),
        1 => (index.clone(), prop::sample::select(vec![0_u32, 1, 3, 2, 8]), offset(), 1_u64..9000)
            .prop_map(|(file, mode, offset, bytes)| Op::Allocate { file, mode, offset, bytes }),
        2 => index.prop_map(Op::Status),
        4 => (path(), mode.clone()).prop_map(|(path, mode)| Op::Mkdir { path, mode }),
        2 => path().prop_map(Op::Rmdir),
        2 => path().prop_map(Op::Unlink),
        4 => (path(), path(), prop::sample::select(vec![0_u32, 0, 1, 2, 3]))
            .prop_map(|(from, to, flags)| Op::Rename { from, to, flags }),
        2 => (path(), path(), any::<bool>())
            .prop_map(|(from, to, follow)| Op::Link { from, to, follow }),
        3 => (target(), path()).prop_map(|(target, path)| Op::Symlink { target, path }),
        1 => path().prop_map(Op::Readlink),
        3 => (path(), any::<bool>()).prop_map(|(path, follow)| Op::Stat { path, follow }),
        1 => (path(), mode).prop_map(|(path, mode)| Op::Chmod { path, mode }),
        1 => (path(), offset()).prop_map(|(path, bytes)| Op::Truncate { path, bytes }),
        1 => path().prop_map(Op::Fifo),
        2 => path().prop_map(Op::List),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(400), max_shrink_iters: 20_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn operations_agree_with_linux(ops in prop::collection::vec(op(), 1..60)) {
        rustix::process::umask(Mode::empty());
        let (mut real, mut ours) = (Real::new(), Ours::new());
        for (at, op) in ops.iter().enumerate() {
            // Linux tells pages that fallocate made from pages that were written; we do not.
            let allocated = ops[..at].iter().any(|op| matches!(op, Op::Allocate { .. }));
            if allocated && matches!(op, Op::Seek { whence: 3.., .. }) {
                continue;
            }
            let (expected, found) = (real.apply(op), ours.apply(op));
            prop_assert_eq!(&expected, &found, "operation {} of {:#?}", at, &ops[..=at]);
        }
    }
}
