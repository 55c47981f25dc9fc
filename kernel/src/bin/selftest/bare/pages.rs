//! Page tables and user copies.

use super::{Outcome, check};
use alloc::vec;
use base::{PAGE_SIZE, PageRange, UserAddr};
use hal::boot::BootInfo;
use hal::memory::{self, Frame};
use hal::space::{AddressSpace, LargeFrame};
use hal::{PageProtection, usercopy};

/// Read and write.
pub(crate) const DATA: PageProtection = PageProtection::READ.union(PageProtection::WRITE);
/// Read and execute.
pub(crate) const CODE: PageProtection = PageProtection::READ.union(PageProtection::EXECUTE);

pub(crate) fn space() -> Result<AddressSpace, &'static str> {
    AddressSpace::new().map_err(|_| "no memory for an address space")
}

pub(crate) fn frame() -> Result<Frame, &'static str> {
    Frame::zeroed().map_err(|_| "no memory for a frame")
}

/// Maps a fresh page at `address` and returns its frame.
pub(crate) fn fresh(
    space: &AddressSpace,
    address: u64,
    protection: PageProtection,
) -> Result<Frame, &'static str> {
    let frame = frame()?;
    space.map(UserAddr(address), frame.clone(), protection).map_err(|_| "no memory to map")?;
    Ok(frame)
}

pub(crate) fn range(start: u64, bytes: u64) -> Result<PageRange, &'static str> {
    PageRange::from_length(UserAddr(start), bytes).ok_or("bad range in the test")
}

pub(crate) fn mapping(_: &BootInfo) -> Outcome {
    let space = space()?;
    for (at, address) in [0x1000, 0x40_0000, 0xc0_0000_0000, 0x7fff_ffff_e000].iter().enumerate() {
        let frame = fresh(&space, *address, DATA)?;
        let (found, protection) = space.lookup(UserAddr(address + 5)).ok_or("lookup")?;
        check(found.same(&frame) && protection == DATA, "lookup found something else")?;
        check(space.resident_pages() == at + 1, "resident count")?;
    }
    check(space.map(UserAddr(0x7fff_ffff_f000), frame()?, DATA).is_err(), "mapped too high")?;
    check(space.map(UserAddr(0xffff_8000_0000_0000), frame()?, DATA).is_err(), "mapped kernel")?;
    check(space.lookup(UserAddr(0xffff_ffff_8020_0000)).is_none(), "looked up the kernel")?;
    let all = range(0, 0x7fff_ffff_f000)?;
    check(space.next_mapped(all) == Some(UserAddr(0x1000)), "next_mapped")?;
    let later = range(0x2000, 0x7fff_ffff_0000)?;
    check(space.next_mapped(later) == Some(UserAddr(0x40_0000)), "next_mapped after a hole")?;
    // Nothing allowed: the page stays.
    let page = range(0x40_0000, PAGE_SIZE)?;
    space.protect(page, PageProtection::empty(), false);
    let (_, protection) = space.lookup(UserAddr(0x40_0000)).ok_or("PROT_NONE lost the page")?;
    check(protection.is_empty(), "PROT_NONE")?;
    let mut byte = [0];
    let denied = usercopy::copy_from_user(&space, &mut byte, UserAddr(0x40_0000));
    check(denied.is_err(), "the kernel read a page without access")?;
    // Shared frames stay read-only unless asked.
    let shared = space.lookup(UserAddr(0x40_0000)).ok_or("lookup")?;
    space.protect(page, DATA, false);
    let now = space.lookup(UserAddr(0x40_0000)).ok_or("lookup")?.1;
    check(now == PageProtection::READ, "a shared frame became writable")?;
    space.protect(page, DATA, true);
    let now = space.lookup(UserAddr(0x40_0000)).ok_or("lookup")?.1;
    check(now == DATA, "a shared mapping did not become writable")?;
    drop(shared);
    check(space.unmap(all) == 4 && space.resident_pages() == 0, "unmap")?;
    check(space.next_mapped(all).is_none(), "something is left")
}

pub(crate) fn tables(_: &BootInfo) -> Outcome {
    let space = space()?;
    let before = memory::statistics().free;
    let shared = frame()?;
    // The sparsest round takes two tables for each page.
    let pages = (before / 8).min(1500);
    for round in 0..3 {
        for page in 0..pages {
            // Dense, then sparse.
            let address = 0x10_0000_0000 + page * (PAGE_SIZE << (9 * round));
            space.map(UserAddr(address), shared.clone(), DATA).map_err(|_| "no memory")?;
        }
        check(space.unmap(range(0, 0x7fff_ffff_f000)?) == pages as usize, "unmap counted wrong")?;
    }
    drop(shared);
    let after = memory::statistics().free;
    check(after + 40 >= before, "tables leak")?;
    // Dropping the space gives back everything.
    let before = memory::statistics().free;
    for _ in 0..4 {
        let space = self::space()?;
        for page in 0..200 {
            fresh(&space, 0x5000_0000 + page * 0x20_1000, DATA)?;
        }
    }
    check(memory::statistics().free + 40 >= before, "dropping a space leaks")
}

pub(crate) fn relocation(_: &BootInfo) -> Outcome {
    let space = space()?;
    let first = fresh(&space, 0x10_0000, DATA)?;
    let third = fresh(&space, 0x10_2000, PageProtection::READ)?;
    let to = UserAddr(0x70_0000_0000);
    space.relocate(range(0x10_0000, 0x4000)?, to).map_err(|_| "no memory")?;
    let (found, protection) = space.lookup(to).ok_or("the first page is gone")?;
    check(found.same(&first) && protection == DATA, "first page")?;
    let (found, protection) = space.lookup(UserAddr(to.0 + 0x2000)).ok_or("third page is gone")?;
    check(found.same(&third) && protection == PageProtection::READ, "third page")?;
    check(space.lookup(UserAddr(0x10_0000)).is_none(), "the old page is still there")?;
    check(space.resident_pages() == 2, "resident count")?;
    let beyond = UserAddr(0x7fff_ffff_e000);
    check(space.relocate(range(to.0, 0x4000)?, beyond).is_err(), "moved out of user memory")
}

pub(crate) fn copies(_: &BootInfo) -> Outcome {
    let space = space()?;
    let base = 0x20_0000_u64;
    for page in 0..3 {
        fresh(&space, base + page * PAGE_SIZE, DATA)?;
    }
    let end = base + 3 * PAGE_SIZE;
    for length in [0, 1, 3, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 129, 511, 512, 4095, 4097, 9000] {
        for offset in [0, 1, 4093] {
            if offset + length > 3 * PAGE_SIZE {
                continue;
            }
            let bytes: vec::Vec<u8> = (0..length).map(|n| (n * 31 + offset + 1) as u8).collect();
            let at = UserAddr(base + offset);
            usercopy::copy_to_user(&space, at, &bytes).map_err(|_| "a good copy faulted")?;
            let mut back = vec![0; length as usize];
            usercopy::copy_from_user(&space, &mut back, at).map_err(|_| "a good copy faulted")?;
            check(back == bytes, "bytes changed on the way")?;
        }
        for before in [0, 1, 5, 8, 30, 40, 64, 77, 127, 128, 129, 160, 700, 1111] {
            let bytes = vec![7; length as usize + before as usize];
            let result = usercopy::copy_to_user(&space, UserAddr(end - before), &bytes);
            let Err(fault) = result else {
                check(length == 0, "wrote beyond the last page")?;
                continue;
            };
            check(fault.address == UserAddr(end), "fault address of a store")?;
            check(fault.copied == before as usize, "bytes stored before the fault")?;
            let mut bytes = bytes;
            let result = usercopy::copy_from_user(&space, &mut bytes, UserAddr(end - before));
            let fault = result.err().ok_or("read beyond the last page")?;
            check(fault.copied == before as usize, "bytes loaded before the fault")?;
        }
    }
    // Read-only for the program is read-only for the kernel on its behalf.
    space.protect(range(base, PAGE_SIZE)?, PageProtection::READ, true);
    let fault = usercopy::copy_to_user(&space, UserAddr(base + 10), &[1; 20]).err();
    check(fault.is_some_and(|f| f.copied == 0 && f.address.0 == base + 10), "wrote read-only")?;
    // Another space's pages are its own.
    let other = self::space()?;
    let mut byte = [0];
    let there = usercopy::copy_from_user(&other, &mut byte, UserAddr(base));
    check(there.is_err(), "read another space")?;
    usercopy::copy_from_user(&space, &mut byte, UserAddr(base)).map_err(|_| "switching back")
}

pub(crate) fn limits(_: &BootInfo) -> Outcome {
    let space = space()?;
    fresh(&space, 0x7fff_ffff_e000, DATA)?;
    let mut bytes = [0; 64];
    let near = UserAddr(0x7fff_ffff_eff0);
    let fault = usercopy::copy_from_user(&space, &mut bytes, near).err().ok_or("crossed")?;
    check(fault.copied == 16 && fault.address.0 == 0x7fff_ffff_f000, "where it stopped")?;
    for address in [
        0x7fff_ffff_f000,
        0x8000_0000_0000,
        0xffff_7fff_ffff_ffff,
        0xffff_8000_0000_0000,
        0xffff_ffff_8020_0000,
        u64::MAX,
    ] {
        let at = UserAddr(address);
        let fault = usercopy::copy_from_user(&space, &mut bytes, at).err().ok_or("read kernel")?;
        check(fault.copied == 0 && fault.address == at, "fault of a kernel load")?;
        check(usercopy::copy_to_user(&space, at, &bytes).is_err(), "wrote kernel memory")?;
        check(usercopy::load_u32(&space, at).is_err(), "loaded kernel memory")?;
        check(usercopy::compare_exchange_u32(&space, at, 0, 1).is_err(), "changed kernel memory")?;
    }
    check(usercopy::copy_from_user(&space, &mut [], UserAddr(u64::MAX)).is_ok(), "empty copy")
}

pub(crate) fn exchange(_: &BootInfo) -> Outcome {
    let space = space()?;
    fresh(&space, 0x1000, DATA)?;
    let at = UserAddr(0x1ff0);
    let run = |expected, new| {
        usercopy::compare_exchange_u32(&space, at, expected, new).map_err(|_| "faulted")
    };
    check(run(0, 5)? == 0 && run(0, 6)? == 5 && run(5, 7)? == 5, "compare and exchange")?;
    check(usercopy::load_u32(&space, at) == Ok(7), "load")?;
    let gone = usercopy::load_u32(&space, UserAddr(0x2000)).err().ok_or("loaded a hole")?;
    check(gone.address.0 == 0x2000, "fault address")?;
    space.protect(range(0x1000, PAGE_SIZE)?, PageProtection::READ, true);
    check(usercopy::compare_exchange_u32(&space, at, 0, 1).is_err(), "exchanged read-only")
}

const LARGE: u64 = 2 << 20;
const LARGE_AT: UserAddr = UserAddr(0x1234_5640_0000);

fn large_frame() -> Result<LargeFrame, &'static str> {
    LargeFrame::zeroed().map_err(|_| "no memory for a large page")
}

fn put(space: &AddressSpace, page: u64, byte: u8) -> Outcome {
    let to = UserAddr(LARGE_AT.0 + page * PAGE_SIZE);
    usercopy::copy_to_user(space, to, &[byte]).map_err(|_| "a page of a large one is not writable")
}

fn get(space: &AddressSpace, page: u64) -> Result<u8, &'static str> {
    let (mut byte, from) = ([0], UserAddr(LARGE_AT.0 + page * PAGE_SIZE));
    usercopy::copy_from_user(space, &mut byte, from)
        .map_err(|_| "a page of a large one is not readable")?;
    Ok(byte[0])
}

/// Makes, changes, splits and drops large pages; the translations of each step are in use before
/// the next. On a small machine the tests before leave no piece of memory that is large enough.
pub(crate) fn large(_: &BootInfo) -> Outcome {
    if memory::statistics().total < (1 << 30) / PAGE_SIZE {
        return Ok(());
    }
    let before = memory::statistics().free;
    for round in 0..4 {
        let space = space()?;
        let whole = range(LARGE_AT.0, LARGE)?;
        let part = |page: u64, count: u64| range(LARGE_AT.0 + page * PAGE_SIZE, count * PAGE_SIZE);
        let odd = UserAddr(LARGE_AT.0 + PAGE_SIZE);
        check(space.map_large(odd, large_frame()?, DATA).is_err(), "mapped at an odd address")?;
        check(space.map_large(LARGE_AT, large_frame()?, DATA) == Ok(true), "not mapped")?;
        check(space.map_large(LARGE_AT, large_frame()?, DATA) == Ok(false), "mapped twice")?;
        check(space.resident_pages() == 512 && space.large_pages(whole) == 512, "counts")?;
        for page in 0..512 {
            check(get(&space, page)? == 0, "not zeros")?;
            put(&space, page, page as u8)?;
        }
        space.protect(whole, PageProtection::READ, false);
        check(put(&space, 7, 0).is_err(), "written though read-only")?;
        space.protect(whole, PageProtection::empty(), false);
        check(get(&space, 7).is_err(), "read though nothing is allowed")?;
        space.protect(whole, DATA, false);
        check(space.large_pages(whole) == 512, "split without need")?;
        let held = space.lookup(odd).ok_or("lookup")?;
        check(held.1 == DATA, "protection of a part")?;
        match round {
            // As it is: dropped with the space, one frame after the others.
            0 => {}
            1 => {
                check(space.unmap(part(3, 2)?) == 2, "unmapped parts")?;
                check(get(&space, 3).is_err() && get(&space, 5)? == 5, "what is left")?;
                check(space.large_pages(whole) == 0, "still large")?;
                check(space.collapse(LARGE_AT, large_frame()?, DATA) == Some(true), "collapse")?;
                check(get(&space, 3)? == 0 && get(&space, 511)? == 255, "collapsed bytes")?;
                check(space.resident_pages() == 512, "count after collapse")?;
                check(space.unmap(whole) == 512 && space.resident_pages() == 0, "unmap")?;
            }
            2 => {
                space.protect(part(100, 1)?, PageProtection::READ, false);
                check(put(&space, 100, 1).is_err(), "written though a part is read-only")?;
                put(&space, 101, 1)?;
                space.map(UserAddr(LARGE_AT.0), frame()?, DATA).map_err(|_| "no memory")?;
                check(get(&space, 0)? == 0 && get(&space, 101)? == 1, "replaced page")?;
            }
            _ => {
                let to = UserAddr(0x40_0000_0000);
                space.relocate(whole, to).map_err(|_| "no memory")?;
                check(space.lookup(LARGE_AT).is_none(), "the old large page is still there")?;
                let mut byte = [0];
                let from = UserAddr(to.0 + 9 * PAGE_SIZE);
                check(usercopy::copy_from_user(&space, &mut byte, from).is_ok(), "moved page")?;
                check(byte[0] == 9 && space.resident_pages() == 512, "moved bytes")?;
            }
        }
        drop(held);
    }
    check(memory::statistics().free + 40 >= before, "large pages leak")
}
