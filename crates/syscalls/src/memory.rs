//! System calls about memory.

use crate::call::{Call, Outcome};
use crate::file_control::writes_are_sealed;
use crate::mapped_file::MappedFile;
use crate::memory_limit;
use crate::table::{Row, full, partial, refused};
use crate::trace::Argument::{self, Fd, Flags, Hex, Int, Name, Size};
use abi::mman::{
    ANON_VMA_NAME_MAX_LEN, MAP_DROPPABLE, MAP_PRIVATE, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_TYPE,
    MLOCK_ONFAULT, MapFlags, MlockallFlags, MremapFlags, MsyncFlags, PR_SET_VMA_ANON_NAME, Prot,
    madv,
};
use abi::number as nr;
use base::address::USER_END;
use base::io::{Sink, Source, in_parts};
use base::{Errno, PAGE_SIZE, PageRange, Tid, UserAddr};
use core::sync::atomic::Ordering;
use hal::PageProtection;
use mm::{
    Advice, Content, Label, MAXIMUM_TRANSFER, MapRequest, Piece, Placement, UserSink, UserSource,
};
use vfs::{FileType, OpenFile};

/// The calls of this family.
pub const ROWS: &[Row] = &[
    partial(
        nr::MMAP,
        "mmap",
        &[Hex, Size, PROT, Flags(MAP_NAMES), Fd, Hex],
        "MAP_HUGETLB is ENOMEM (no huge pages are reserved), MAP_GROWSDOWN is EOPNOTSUPP",
        |call| mmap(call).into(),
    ),
    full(nr::MUNMAP, "munmap", &[Hex, Size], |call| {
        done(call.memory().unmap(call.address(0), call.long(1)))
    }),
    full(nr::MPROTECT, "mprotect", &[Hex, Size, PROT], |call| mprotect(call).into()),
    partial(
        nr::PKEY_MPROTECT,
        "pkey_mprotect",
        &[Hex, Size, PROT, Int],
        "there are no protection keys: only key -1",
        |call| if call.int(3) == -1 { mprotect(call).into() } else { Errno::EINVAL.into() },
    ),
    partial(
        nr::MADVISE,
        "madvise",
        &[Hex, Size, Name(MADV_NAMES)],
        "MADV_HWPOISON is EINVAL; MADV_FREE drops at once; large pages of private anonymous memory only; \
         guard regions are mappings of their own to mremap",
        |call| madvise(call).into(),
    ),
    full(nr::MREMAP, "mremap", &[Hex, Size, Size, Flags(MREMAP_NAMES), Hex], |call| {
        mremap(call).into()
    }),
    full(nr::BRK, "brk", &[Hex], brk),
    full(nr::MINCORE, "mincore", &[Hex, Size, Hex], |call| mincore(call).into()),
    full(nr::MSYNC, "msync", &[Hex, Size, Flags(MS_NAMES)], |call| msync(call).into()),
    full(nr::MLOCK, "mlock", &[Hex, Size], |call| {
        done(call.memory().lock(call.address(0), call.long(1), false))
    }),
    full(nr::MLOCK2, "mlock2", &[Hex, Size, Hex], |call| mlock2(call).into()),
    full(nr::MUNLOCK, "munlock", &[Hex, Size], |call| {
        done(call.memory().unlock(call.address(0), call.long(1)))
    }),
    full(nr::MLOCKALL, "mlockall", &[Hex], |call| mlockall(call).into()),
    full(nr::MUNLOCKALL, "munlockall", &[], |call| {
        call.memory().lock_all(MlockallFlags::empty());
        Ok(0).into()
    }),
    partial(
        nr::MEMBARRIER,
        "membarrier",
        &[Int, Hex, Int],
        "there are no restartable sequences to restart: their commands are EINVAL",
        |call| membarrier(call).into(),
    ),
    full(nr::PROCESS_VM_READV, "process_vm_readv", &[Int, Hex, Size, Hex, Size, Hex], |call| {
        process_vm(call, false).into()
    }),
    full(nr::PROCESS_VM_WRITEV, "process_vm_writev", &[Int, Hex, Size, Hex, Size, Hex], |call| {
        process_vm(call, true).into()
    }),
    refused(nr::PKEY_ALLOC, "pkey_alloc", "ENOSPC: there are no protection keys", |_| {
        Errno::ENOSPC.into()
    }),
    refused(nr::PKEY_FREE, "pkey_free", "EINVAL: there are no protection keys", |_| {
        Errno::EINVAL.into()
    }),
    partial(
        nr::PROCESS_MADVISE,
        "process_madvise",
        &[Fd, Hex, Size, Name(MADV_NAMES), Hex],
        "there is one process",
        crate::pidfd::process_madvise,
    ),
];

const PROT: Argument = Flags(&[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")]);

const MAP_NAMES: &[(u64, &str)] = &[
    (MAP_SHARED as u64, "MAP_SHARED"),
    (MAP_PRIVATE as u64, "MAP_PRIVATE"),
    (MAP_DROPPABLE as u64, "MAP_DROPPABLE"),
    (MapFlags::FIXED.bits() as u64, "MAP_FIXED"),
    (MapFlags::ANONYMOUS.bits() as u64, "MAP_ANONYMOUS"),
    (MapFlags::MAP_32BIT.bits() as u64, "MAP_32BIT"),
    (MapFlags::GROWSDOWN.bits() as u64, "MAP_GROWSDOWN"),
    (MapFlags::LOCKED.bits() as u64, "MAP_LOCKED"),
    (MapFlags::NORESERVE.bits() as u64, "MAP_NORESERVE"),
    (MapFlags::POPULATE.bits() as u64, "MAP_POPULATE"),
    (MapFlags::NONBLOCK.bits() as u64, "MAP_NONBLOCK"),
    (MapFlags::STACK.bits() as u64, "MAP_STACK"),
    (MapFlags::HUGETLB.bits() as u64, "MAP_HUGETLB"),
    (MapFlags::FIXED_NOREPLACE.bits() as u64, "MAP_FIXED_NOREPLACE"),
];

const MADV_NAMES: &[(u64, &str)] = &[
    (madv::NORMAL as u64, "MADV_NORMAL"),
    (madv::RANDOM as u64, "MADV_RANDOM"),
    (madv::SEQUENTIAL as u64, "MADV_SEQUENTIAL"),
    (madv::WILLNEED as u64, "MADV_WILLNEED"),
    (madv::DONTNEED as u64, "MADV_DONTNEED"),
    (madv::FREE as u64, "MADV_FREE"),
    (madv::REMOVE as u64, "MADV_REMOVE"),
    (madv::DONTFORK as u64, "MADV_DONTFORK"),
    (madv::HUGEPAGE as u64, "MADV_HUGEPAGE"),
    (madv::NOHUGEPAGE as u64, "MADV_NOHUGEPAGE"),
    (madv::DONTDUMP as u64, "MADV_DONTDUMP"),
    (madv::POPULATE_READ as u64, "MADV_POPULATE_READ"),
    (madv::POPULATE_WRITE as u64, "MADV_POPULATE_WRITE"),
    (madv::COLLAPSE as u64, "MADV_COLLAPSE"),
    (madv::GUARD_INSTALL as u64, "MADV_GUARD_INSTALL"),
    (madv::GUARD_REMOVE as u64, "MADV_GUARD_REMOVE"),
];

const MREMAP_NAMES: &[(u64, &str)] =
    &[(1, "MREMAP_MAYMOVE"), (2, "MREMAP_FIXED"), (4, "MREMAP_DONTUNMAP")];

const MS_NAMES: &[(u64, &str)] = &[(1, "MS_ASYNC"), (2, "MS_INVALIDATE"), (4, "MS_SYNC")];

fn done(result: Result<(), Errno>) -> Outcome {
    Outcome::Done(result.map(|()| 0))
}

/// `PROT_*` as rights.
pub(crate) fn rights(protection: Prot) -> PageProtection {
    let mut rights = PageProtection::empty();
    rights.set(PageProtection::READ, protection.contains(Prot::READ));
    rights.set(PageProtection::WRITE, protection.contains(Prot::WRITE));
    rights.set(PageProtection::EXECUTE, protection.contains(Prot::EXEC));
    rights
}

/// The bits that hold the page size with `MAP_HUGETLB` (`MAP_HUGE_MASK << MAP_HUGE_SHIFT`).
const HUGE_PAGE_SIZE: u32 = 0x3f << 26;

fn mmap(call: &Call<'_>) -> Result<usize, Errno> {
    let (length, offset) = (call.long(1), call.long(5));
    // Unknown bits are ignored, as on Linux.
    let protection = rights(Prot::from_bits_truncate(call.unsigned(2)));
    let bits = call.unsigned(3);
    let kind = bits & MAP_TYPE;
    let flags = MapFlags::from_bits_truncate(bits);
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let content = if flags.contains(MapFlags::ANONYMOUS) {
        anonymous(kind, flags)?
    } else {
        let known = MapFlags::from_bits(bits & !MAP_TYPE & !HUGE_PAGE_SIZE).is_some();
        file(call, kind, flags, known, protection)?
    };
    let placement = placement(call, flags);
    let replaced = match placement {
        Placement::Fixed(at) => PageRange::from_length(at, length),
        _ => None,
    };
    let data = matches!(content, Content::Anonymous | Content::File { shared: false, .. })
        && protection.contains(PageProtection::WRITE);
    memory_limit::check(call, replaced, length, data)?;
    let populate = flags.contains(MapFlags::POPULATE) && !flags.contains(MapFlags::NONBLOCK);
    let request = MapRequest {
        placement,
        length,
        protection,
        content,
        populate,
        locked: flags.contains(MapFlags::LOCKED),
        no_reserve: flags.contains(MapFlags::NORESERVE),
        droppable: kind == MAP_DROPPABLE,
        label: Label::None,
    };
    Ok(call.memory().map(request)?.0 as usize)
}

fn placement(call: &Call<'_>, flags: MapFlags) -> Placement {
    let address = call.address(0);
    if flags.contains(MapFlags::FIXED_NOREPLACE) {
        Placement::FixedNoReplace(address)
    } else if flags.contains(MapFlags::FIXED) {
        Placement::Fixed(address)
    } else if flags.contains(MapFlags::MAP_32BIT) {
        Placement::Low
    } else {
        Placement::Hint(address)
    }
}

fn anonymous(kind: u32, flags: MapFlags) -> Result<Content, Errno> {
    let content = match kind {
        MAP_SHARED => Content::SharedAnonymous,
        MAP_PRIVATE => Content::Anonymous,
        MAP_DROPPABLE if !flags.intersects(MapFlags::LOCKED | MapFlags::GROWSDOWN) => {
            Content::Anonymous
        }
        _ => return Err(Errno::EINVAL),
    };
    if flags.contains(MapFlags::HUGETLB) {
        return Err(Errno::ENOMEM);
    }
    if !flags.contains(MapFlags::GROWSDOWN) {
        return Ok(content);
    }
    if kind == MAP_SHARED {
        return Err(Errno::EINVAL);
    }
    // A stack that does not grow would fail later, and for no reason that anybody could see.
    hal::console::control("warn mmap: MAP_GROWSDOWN is not supported (EOPNOTSUPP)");
    Err(Errno::EOPNOTSUPP)
}

fn file(
    call: &Call<'_>,
    kind: u32,
    flags: MapFlags,
    flags_known: bool,
    protection: PageProtection,
) -> Result<Content, Errno> {
    let open = call.process().files.get(call.fd(4))?;
    open.usable()?;
    if flags.contains(MapFlags::HUGETLB) {
        return Err(Errno::EINVAL);
    }
    let shared = match kind {
        MAP_SHARED => true,
        // MAP_SYNC needs persistent memory.
        MAP_SHARED_VALIDATE if flags_known && !flags.contains(MapFlags::SYNC) => true,
        MAP_SHARED_VALIDATE => return Err(Errno::EOPNOTSUPP),
        MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    let writes = shared && protection.contains(PageProtection::WRITE);
    let mut writable = open.flags().is_writable();
    if shared && writes_are_sealed(&open) {
        if writes {
            return Err(Errno::EPERM);
        }
        writable = false;
    }
    if !open.flags().is_readable() || (writes && !writable) {
        return Err(Errno::EACCES);
    }
    if flags.contains(MapFlags::GROWSDOWN) {
        return Err(Errno::EINVAL);
    }
    let offset = call.long(5);
    if is_zero_device(&open)? {
        return Ok(if shared { Content::SharedAnonymous } else { Content::Anonymous });
    }
    // Ask for a page: directories, pipes, sockets and the like refuse.
    if open.file().frame(offset / PAGE_SIZE, false).err() == Some(Errno::ENODEV) {
        return Err(Errno::ENODEV);
    }
    open.touch();
    let backing = MappedFile::of_open(call.process(), &open)?;
    Ok(Content::File { backing, offset, shared, writable })
}

/// /dev/zero: mapping it makes anonymous memory (zero(4)).
fn is_zero_device(open: &OpenFile) -> Result<bool, Errno> {
    const ZERO: u64 = 1 << 8 | 5;
    let metadata = open.metadata()?;
    Ok(metadata.kind == FileType::CharacterDevice && metadata.special_device == ZERO)
}

fn brk(call: &mut Call<'_>) -> Outcome {
    let wanted = call.address(0);
    let allowed = memory_limit::check_break(call, wanted).is_ok();
    let wanted = if allowed { wanted } else { UserAddr(0) };
    Ok(call.memory().brk(wanted).0 as usize).into()
}

fn mprotect(call: &Call<'_>) -> Result<usize, Errno> {
    let start = call.address(0);
    let bits = call.unsigned(2);
    let protection = Prot::from_bits_retain(bits);
    let grows = Prot::GROWSDOWN | Prot::GROWSUP;
    if protection.contains(grows) || !start.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    let length = call.long(1);
    if length == 0 {
        return Ok(0);
    }
    PageRange::from_length(start, length).ok_or(Errno::ENOMEM)?;
    // No mapping here grows, so asking for the part that does fails.
    if protection.intersects(grows) || Prot::from_bits(bits).is_none() {
        return Err(Errno::EINVAL);
    }
    call.memory().protect(start, length, rights(protection)).map(|()| 0)
}

fn madvise(call: &Call<'_>) -> Result<usize, Errno> {
    let advice = Advice::decode(call.int(2))?;
    call.memory().advise(call.address(0), call.long(1), advice).map(|()| 0)
}

fn mremap(call: &Call<'_>) -> Result<usize, Errno> {
    let flags = u32::try_from(call.long(3)).ok().and_then(MremapFlags::from_bits);
    let flags = flags.ok_or(Errno::EINVAL)?;
    let (old, old_length, new_length) = (call.address(0), call.long(1), call.long(2));
    memory_limit::check_growth(call, old, old_length, new_length)?;
    let moved = call.memory().remap(old, old_length, new_length, flags, call.address(4))?;
    Ok(moved.0 as usize)
}

fn mincore(call: &Call<'_>) -> Result<usize, Errno> {
    /// Pages per piece; they pass over the kernel's stack.
    const PIECE: usize = 256;
    let (start, length, vector) = (call.address(0), call.long(1), call.address(2));
    if !start.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    let range = PageRange::from_length(start, length).ok_or(Errno::ENOMEM)?;
    let vector_end = vector.checked_add(range.pages()).ok_or(Errno::EFAULT)?;
    if vector_end.0 > USER_END {
        return Err(Errno::EFAULT);
    }
    let mut piece = [0; PIECE];
    let mut done = 0;
    while done < range.pages() {
        let count = PIECE.min((range.pages() - done) as usize);
        let at = start.wrapping_add(done * PAGE_SIZE);
        let pages = PageRange::from_length(at, count as u64 * PAGE_SIZE).ok_or(Errno::ENOMEM)?;
        let bytes = piece.get_mut(..count).unwrap_or_default();
        call.memory().mincore(pages, bytes)?;
        call.memory().write_bytes(vector.wrapping_add(done), bytes)?;
        done += count as u64;
    }
    Ok(0)
}

fn msync(call: &Call<'_>) -> Result<usize, Errno> {
    let flags = MsyncFlags::from_bits(call.unsigned(2)).ok_or(Errno::EINVAL)?;
    call.memory().sync(call.address(0), call.long(1), flags).map(|()| 0)
}

fn mlock2(call: &Call<'_>) -> Result<usize, Errno> {
    let flags = call.unsigned(2);
    if flags & !MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    let on_fault = flags & MLOCK_ONFAULT != 0;
    call.memory().lock(call.address(0), call.long(1), on_fault).map(|()| 0)
}

fn mlockall(call: &Call<'_>) -> Result<usize, Errno> {
    let flags = MlockallFlags::from_bits(call.unsigned(0)).ok_or(Errno::EINVAL)?;
    if flags.is_empty() || flags == MlockallFlags::ONFAULT {
        return Err(Errno::EINVAL);
    }
    call.memory().lock_all(flags);
    Ok(0)
}

/// prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME): names memory in /proc/self/maps. Go does so.
pub(crate) fn set_name(call: &Call<'_>) -> Result<usize, Errno> {
    if call.long(1) != PR_SET_VMA_ANON_NAME {
        return Err(Errno::EINVAL);
    }
    let (start, length, name) = (call.address(2), call.long(3), call.address(4));
    if name.is_null() {
        return call.memory().set_name(start, length, None).map(|()| 0);
    }
    let name = call.memory().read_c_string(name, ANON_VMA_NAME_MAX_LEN);
    let name = name.map_err(|errno| match errno {
        Errno::ENAMETOOLONG => Errno::EINVAL,
        errno => errno,
    })?;
    // As Linux: printable, and nothing that could be mistaken in a shell or in the file.
    let allowed = |byte: &u8| (b' '..=b'~').contains(byte) && !b"\\`$[]".contains(byte);
    let name = core::str::from_utf8(&name).ok().filter(|name| name.as_bytes().iter().all(allowed));
    call.memory().set_name(start, length, Some(name.ok_or(Errno::EINVAL)?)).map(|()| 0)
}

/// process_vm_readv(2) and process_vm_writev(2): there is one process, so from its own memory to
/// its own memory.
fn process_vm(call: &Call<'_>, write: bool) -> Result<usize, Errno> {
    const CHUNK_BYTES: usize = 1024;
    if call.long(5) != 0 {
        return Err(Errno::EINVAL);
    }
    let memory = call.memory();
    let local = memory.read_pieces(call.address(1), call.size(2))?;
    let remote = memory.read_pieces(call.address(3), call.size(4))?;
    if call.process().thread(Tid(call.unsigned(0))).is_none() {
        return Err(Errno::ESRCH);
    }
    let (from, to) = if write { (&local, &remote) } else { (&remote, &local) };
    let total = |pieces: &[Piece]| pieces.iter().map(|piece| piece.bytes).sum::<usize>();
    let limit = total(from).min(total(to)).min(MAXIMUM_TRANSFER);
    let (mut source, mut sink) = (UserSource::gather(memory, from), UserSink::scatter(memory, to));
    let mut chunk = [0; CHUNK_BYTES];
    in_parts(&mut |done| {
        let wanted = chunk.get_mut(..CHUNK_BYTES.min(limit - done)).unwrap_or_default();
        if wanted.is_empty() {
            return Ok(0);
        }
        let count = source.take(wanted)?;
        sink.put(wanted.get(..count).unwrap_or_default())
    })
}

/// membarrier(2). Every CPU that runs the program leaves it; coming to the kernel and going back
/// orders everything.
fn membarrier(call: &Call<'_>) -> Result<usize, Errno> {
    const QUERY: u32 = 0;
    const GLOBAL: u32 = 1;
    const GLOBAL_EXPEDITED: u32 = 2;
    const REGISTER_GLOBAL_EXPEDITED: u32 = 4;
    const PRIVATE_EXPEDITED: u32 = 8;
    const REGISTER_PRIVATE_EXPEDITED: u32 = 0x10;
    const SYNC_CORE: u32 = 0x20;
    const REGISTER_SYNC_CORE: u32 = 0x40;
    const REGISTRATIONS: u32 = 0x200;
    const SUPPORTED: u32 = 0x7f | REGISTRATIONS;
    if call.unsigned(1) != 0 {
        return Err(Errno::EINVAL);
    }
    let registered = &call.process().barriers;
    match call.unsigned(0) {
        QUERY => return Ok(SUPPORTED as usize),
        REGISTRATIONS => return Ok(registered.load(Ordering::Relaxed) as usize),
        GLOBAL | GLOBAL_EXPEDITED => {}
        command @ (PRIVATE_EXPEDITED | SYNC_CORE) => {
            // Each has its registration as the next bit.
            if registered.load(Ordering::Relaxed) & command << 1 == 0 {
                return Err(Errno::EPERM);
            }
        }
        command @ (REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED | REGISTER_SYNC_CORE) => {
            registered.fetch_or(command, Ordering::Relaxed);
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL),
    }
    call.memory().space().barrier();
    Ok(0)
}
