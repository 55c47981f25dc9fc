//! Directories, and calls that make, remove and move names.

use crate::call::Call;
use crate::credentials::capability;
use crate::files::{PathArgument, find, itself, masked};
use crate::table::{Row, full};
use crate::trace::Argument::{self, DirFd, Fd, Flags, Hex, Int, Mode, Out, Path, Size};
use abi::file::{AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW};
use abi::number as nr;
use alloc::vec::Vec;
use base::{Errno, UserAddr};
use vfs::access::AccessMode;
use vfs::flags::PATH_MAX;
use vfs::inode::DirectoryEntry;
use vfs::{FileType, Found, InodeRef, RenameFlags};

const CWD: base::Fd = base::Fd(AT_FDCWD);
const UNLINK: Argument = Flags(&[(0x200, "AT_REMOVEDIR")]);
const LINK: Argument = Flags(&[(0x400, "AT_SYMLINK_FOLLOW"), (0x1000, "AT_EMPTY_PATH")]);
const RENAME: Argument =
    Flags(&[(1, "RENAME_NOREPLACE"), (2, "RENAME_EXCHANGE"), (4, "RENAME_WHITEOUT")]);

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::GETDENTS64, "getdents64", &[Fd, Hex, Size], |call| getdents(call, true).into()),
    full(nr::GETDENTS, "getdents", &[Fd, Hex, Size], |call| getdents(call, false).into()),
    full(nr::GETCWD, "getcwd", &[Out, Size], |call| getcwd(call).into()),
    full(nr::CHDIR, "chdir", &[Path], |call| chdir(call).into()),
    full(nr::FCHDIR, "fchdir", &[Fd], |call| fchdir(call).into()),
    full(nr::CHROOT, "chroot", &[Path], |call| chroot(call).into()),
    full(nr::MKDIR, "mkdir", &[Path, Mode], |call| mkdir(call, CWD, 0).into()),
    full(nr::MKDIRAT, "mkdirat", &[DirFd, Path, Mode], |call| mkdir(call, call.fd(0), 1).into()),
    full(nr::RMDIR, "rmdir", &[Path], |call| rmdir(call, CWD, 0).into()),
    full(nr::UNLINK, "unlink", &[Path], |call| unlink(call, CWD, 0).into()),
    full(nr::UNLINKAT, "unlinkat", &[DirFd, Path, UNLINK], |call| unlinkat(call).into()),
    full(nr::RENAME, "rename", &[Path, Path], |call| rename(call, (CWD, 0), (CWD, 1), 0).into()),
    full(nr::RENAMEAT, "renameat", &[DirFd, Path, DirFd, Path], |call| {
        rename(call, (call.fd(0), 1), (call.fd(2), 3), 0).into()
    }),
    full(nr::RENAMEAT2, "renameat2", &[DirFd, Path, DirFd, Path, RENAME], |call| {
        rename(call, (call.fd(0), 1), (call.fd(2), 3), call.unsigned(4)).into()
    }),
    full(nr::LINK, "link", &[Path, Path], |call| link(call, (CWD, 0), (CWD, 1), 0).into()),
    full(nr::LINKAT, "linkat", &[DirFd, Path, DirFd, Path, LINK], |call| {
        link(call, (call.fd(0), 1), (call.fd(2), 3), call.unsigned(4)).into()
    }),
    full(nr::SYMLINK, "symlink", &[Path, Path], |call| symlink(call, CWD, 1).into()),
    full(nr::SYMLINKAT, "symlinkat", &[Path, DirFd, Path], |call| {
        symlink(call, call.fd(1), 2).into()
    }),
    full(nr::READLINK, "readlink", &[Path, Out, Size], |call| readlink(call, CWD, 0).into()),
    full(nr::READLINKAT, "readlinkat", &[DirFd, Path, Out, Size], |call| {
        readlink(call, call.fd(0), 1).into()
    }),
    full(nr::MKNOD, "mknod", &[Path, Mode, Int], |call| mknod(call, CWD, 0).into()),
    full(nr::MKNODAT, "mknodat", &[DirFd, Path, Mode, Int], |call| {
        mknod(call, call.fd(0), 1).into()
    }),
];

/// `linux_dirent64`: inode, offset, length, type, name.
const HEADER64_BYTES: usize = 19;
/// `linux_dirent`: inode, offset, length, name; the type is the record's last byte.
const HEADER_BYTES: usize = 18;

/// Records of directory entries, up to what the program has room for.
struct Records {
    bytes: Vec<u8>,
    room: usize,
    is_64: bool,
    /// An entry did not fit.
    full: bool,
    /// The cookie after the last one that did.
    next: u64,
}

impl Records {
    fn put(&mut self, entry: &DirectoryEntry<'_>) -> bool {
        let (header, tail) = if self.is_64 { (HEADER64_BYTES, 1) } else { (HEADER_BYTES, 2) };
        let length = (header + entry.name.len() + tail).next_multiple_of(8);
        if self.bytes.len() + length > self.room {
            self.full = true;
            return false;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&entry.inode.to_le_bytes());
        self.bytes.extend_from_slice(&entry.next.to_le_bytes());
        self.bytes.extend_from_slice(&(length as u16).to_le_bytes());
        let kind = entry.kind.directory_type();
        if self.is_64 {
            self.bytes.push(kind);
        }
        self.bytes.extend_from_slice(entry.name);
        self.bytes.resize(start + length, 0);
        if let (false, Some(last)) = (self.is_64, self.bytes.last_mut()) {
            *last = kind;
        }
        self.next = entry.next;
        true
    }
}

/// Collects the entries of a directory from cookie `from` on: `.`, `..`, then the rest.
fn collect(
    call: &Call<'_>,
    directory: &InodeRef,
    from: u64,
    records: &mut Records,
) -> Result<(), Errno> {
    const DOT: u64 = 1;
    const DOT_DOT: u64 = 2;
    let parent = call.process().vfs.parent_of(directory);
    for (name, inode, next) in [(&b"."[..], directory, DOT), (&b".."[..], &parent, DOT_DOT)] {
        let inode = inode.id().number;
        let kind = FileType::Directory;
        if from < next && !records.put(&DirectoryEntry { name, inode, kind, next }) {
            return Ok(());
        }
    }
    directory.list(from, &mut |entry| records.put(&entry))
}

fn getdents(call: &Call<'_>, is_64: bool) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    open.usable()?;
    let directory = open.inode().ok_or(Errno::ENOTDIR)?;
    if directory.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    if directory.is_removed() {
        return Err(Errno::ENOENT);
    }
    let room = (call.unsigned(2) as usize).min(64 * 1024);
    let from = open.with_offset(|offset| *offset);
    let mut records = Records { bytes: Vec::new(), room, is_64, full: false, next: from };
    collect(call, directory, from, &mut records)?;
    open.touch();
    if records.bytes.is_empty() {
        return if records.full { Err(Errno::EINVAL) } else { Ok(0) };
    }
    call.memory().write_bytes(call.address(1), &records.bytes)?;
    open.with_offset(|offset| *offset = records.next);
    Ok(records.bytes.len())
}

fn getcwd(call: &Call<'_>) -> Result<usize, Errno> {
    let directories = call.process().directories.lock().clone();
    let vfs = &call.process().vfs;
    let mut path = vfs.path_of(&directories.working, &directories.root)?;
    path.push(0);
    if path.len() > call.size(1) {
        return Err(Errno::ERANGE);
    }
    call.memory().write_bytes(call.address(0), &path)?;
    Ok(path.len())
}

/// A directory that the thread may be in.
fn directory_at(call: &Call<'_>) -> Result<InodeRef, Errno> {
    let argument = PathArgument::read(call, CWD, call.address(0))?;
    let inode = call.process().vfs.resolve(argument.at(), &argument.path, true);
    // An open file without an inode is no directory either.
    let inode =
        inode.map_err(|errno| if errno == Errno::ENXIO { Errno::ENOTDIR } else { errno })?;
    let inode = require_directory(inode.inode)?;
    argument.who.check(&*inode, AccessMode::EXECUTE)?;
    Ok(inode)
}

fn require_directory(inode: InodeRef) -> Result<InodeRef, Errno> {
    if inode.kind() == FileType::Directory { Ok(inode) } else { Err(Errno::ENOTDIR) }
}

fn chdir(call: &Call<'_>) -> Result<usize, Errno> {
    let directory = directory_at(call)?;
    call.process().directories.lock().working = directory;
    Ok(0)
}

fn fchdir(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let directory = require_directory(open.inode().ok_or(Errno::ENOTDIR)?.clone())?;
    call.asker().check(&*directory, AccessMode::EXECUTE)?;
    call.process().directories.lock().working = directory;
    Ok(0)
}

fn chroot(call: &Call<'_>) -> Result<usize, Errno> {
    let directory = directory_at(call)?;
    if !call.thread.identity.has(capability::SYS_CHROOT) {
        return Err(Errno::EPERM);
    }
    call.process().directories.lock().root = directory;
    Ok(0)
}

fn mkdir(call: &Call<'_>, from: base::Fd, path: usize) -> Result<usize, Errno> {
    let argument = PathArgument::read(call, from, call.address(path))?;
    let permissions = masked(call, call.unsigned(path + 1));
    call.process().vfs.mkdir(argument.at(), &argument.path, permissions).map(|_| 0)
}

fn rmdir(call: &Call<'_>, from: base::Fd, path: usize) -> Result<usize, Errno> {
    let argument = PathArgument::read(call, from, call.address(path))?;
    call.process().vfs.rmdir(argument.at(), &argument.path).map(|()| 0)
}

fn unlink(call: &Call<'_>, from: base::Fd, path: usize) -> Result<usize, Errno> {
    let argument = PathArgument::read(call, from, call.address(path))?;
    call.process().vfs.unlink(argument.at(), &argument.path).map(|()| 0)
}

fn unlinkat(call: &Call<'_>) -> Result<usize, Errno> {
    match call.unsigned(2) {
        0 => unlink(call, call.fd(0), 1),
        AT_REMOVEDIR => rmdir(call, call.fd(0), 1),
        _ => Err(Errno::EINVAL),
    }
}

type PathAt = (base::Fd, usize);

fn rename(call: &Call<'_>, from: PathAt, to: PathAt, flags: u32) -> Result<usize, Errno> {
    let flags = RenameFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let others = RenameFlags::NOREPLACE | RenameFlags::WHITEOUT;
    if flags.contains(RenameFlags::EXCHANGE) && flags.intersects(others) {
        return Err(Errno::EINVAL);
    }
    let from = PathArgument::read(call, from.0, call.address(from.1))?;
    let to = PathArgument::read(call, to.0, call.address(to.1))?;
    let vfs = &call.process().vfs;
    vfs.rename(from.at(), &from.path, to.at(), &to.path, flags).map(|()| 0)
}

fn link(call: &Call<'_>, from: PathAt, to: PathAt, flags: u32) -> Result<usize, Errno> {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = flags & AT_SYMLINK_FOLLOW != 0;
    let target = match find(call, from.0, call.address(from.1), flags, follow)? {
        Found::Place(place) => place.inode,
        Found::File(_) => return Err(Errno::EXDEV),
    };
    let to = PathArgument::read(call, to.0, call.address(to.1))?;
    call.process().vfs.link(&target, to.at(), &to.path).map(|()| 0)
}

fn symlink(call: &Call<'_>, from: base::Fd, path: usize) -> Result<usize, Errno> {
    let target = call.memory().read_c_string(call.address(0), PATH_MAX)?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let argument = PathArgument::read(call, from, call.address(path))?;
    call.process().vfs.symlink(&target, argument.at(), &argument.path).map(|_| 0)
}

fn readlink(call: &Call<'_>, from: base::Fd, path: usize) -> Result<usize, Errno> {
    let size = call.int(path + 2);
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let text = link_text(call, from, call.address(path))?;
    let shown = text.get(..size.min(text.len())).unwrap_or_default();
    call.memory().write_bytes(call.address(path + 1), shown)?;
    Ok(shown.len())
}

fn link_text(call: &Call<'_>, from: base::Fd, address: UserAddr) -> Result<Vec<u8>, Errno> {
    // An empty path reads the link that an O_PATH descriptor leads to.
    if call.memory().read::<u8>(address)? == 0 {
        return match itself(call, from)? {
            Found::Place(place) if place.inode.kind() == FileType::SymbolicLink => {
                place.inode.link_text()
            }
            _ => Err(Errno::ENOENT),
        };
    }
    match find(call, from, address, AT_SYMLINK_NOFOLLOW, false)? {
        Found::Place(place) => place.inode.link_text(),
        Found::File(_) => Err(Errno::EINVAL),
    }
}

fn mknod(call: &Call<'_>, from: base::Fd, path: usize) -> Result<usize, Errno> {
    let mode = call.unsigned(path + 1);
    let kind = FileType::of_mode(mode).ok_or(Errno::EINVAL)?;
    let argument = PathArgument::read(call, from, call.address(path))?;
    let (permissions, number) = (masked(call, mode), u64::from(call.unsigned(path + 2)));
    let vfs = &call.process().vfs;
    vfs.mknod(argument.at(), &argument.path, kind, permissions, number).map(|_| 0)
}
