//! One rule a test.

use super::*;
use crate::{Advice, FaultError, Label, Piece, SegvCode, UserSink, UserSource};
use abi::mman::{MlockallFlags, MremapFlags, MsyncFlags};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base::PageRange;
use base::io::{Sink, Source};
use hal::{Access, PageFault};

fn fault(mm: &Mm, address: UserAddr, access: Access) -> Result<(), FaultError> {
    mm.fault(&PageFault { address, access, present: false, error_code: 0 })
}

fn map(mm: &Mm, placement: Placement, pages: u64) -> Result<UserAddr, Errno> {
    mm.map(MapRequest::anonymous(placement, pages * PAGE_SIZE, READ_WRITE))
}

#[test]
fn reservations_cost_nothing() {
    let mm = memory();
    let before = hal::memory::statistics().free;
    let huge = MapRequest::anonymous(Placement::Hint(UserAddr::NULL), 1 << 44, NONE);
    mm.map(huge).unwrap();
    assert_eq!(hal::memory::statistics().free, before);
    assert_eq!(mm.statistics().resident_bytes, 0);
}

#[test]
fn more_private_memory_than_the_machine_has_is_refused() {
    let mm = memory();
    let huge = MapRequest::anonymous(Placement::Hint(UserAddr::NULL), 1 << 40, READ_WRITE);
    assert_eq!(mm.map(huge.clone()), Err(Errno::ENOMEM));
    assert!(mm.map(MapRequest { no_reserve: true, ..huge }).is_ok());
    // Go's heap index on a machine of 16 MiB.
    assert!(map(&mm, Placement::Hint(UserAddr::NULL), (32 << 20) / PAGE_SIZE).is_ok());
}

#[test]
fn hints_are_honoured_when_free() {
    let mm = memory();
    let hint = UserAddr(0x3f7f_b000_0000);
    assert_eq!(map(&mm, Placement::Hint(hint), 16), Ok(hint));
    let other = map(&mm, Placement::Hint(hint), 16).unwrap();
    assert_ne!(other, hint);
    // Go's arena hints.
    assert_eq!(
        map(&mm, Placement::Hint(UserAddr(0xc0_0000_0000)), 1),
        Ok(UserAddr(0xc0_0000_0000))
    );
    // A hint that is not aligned is rounded down; one below the lowest address moves up to it.
    assert_eq!(map(&mm, Placement::Hint(UserAddr(0x12_3456)), 1), Ok(UserAddr(0x12_3000)));
    assert_eq!(map(&mm, Placement::Hint(UserAddr(1)), 1), Ok(crate::LOWEST_ADDRESS));
}

#[test]
fn fixed_mappings_replace_or_refuse() {
    let mm = memory();
    let start = anonymous(&mm, 4);
    mm.write(page(start, 1), &7_u8).unwrap();
    assert_eq!(map(&mm, Placement::FixedNoReplace(page(start, 1)), 1), Err(Errno::EEXIST));
    assert_eq!(map(&mm, Placement::Fixed(page(start, 1)), 1), Ok(page(start, 1)));
    assert_eq!(byte(&mm, page(start, 1)), Ok(0));
    assert_eq!(map(&mm, Placement::Fixed(UserAddr(0x1000)), 1), Err(Errno::EPERM));
    assert_eq!(map(&mm, Placement::Fixed(UserAddr(0x10_0001)), 1), Err(Errno::EINVAL));
    assert_eq!(map(&mm, Placement::Fixed(UserAddr(!0xfff)), 1), Err(Errno::ENOMEM));
    assert_eq!(map(&mm, Placement::Hint(UserAddr::NULL), 0), Err(Errno::EINVAL));
    assert_eq!(map(&mm, Placement::Hint(UserAddr::NULL), 1 << 40), Err(Errno::ENOMEM));
}

#[test]
fn room_is_found_from_the_top_and_found_again() {
    let mm = memory();
    let first = anonymous(&mm, 4);
    let second = anonymous(&mm, 4);
    assert_eq!(page(second, 4), first);
    assert_eq!(first, UserAddr(mm.layout().mmap_top.0 - 4 * PAGE_SIZE));
    mm.unmap(first, 2 * PAGE_SIZE).unwrap();
    assert_eq!(anonymous(&mm, 2), first);
    // A hole that is too small is passed over, and still found by what fits.
    mm.unmap(page(first, 1), PAGE_SIZE).unwrap();
    let wide = anonymous(&mm, 2);
    assert!(wide < second);
    assert_eq!(anonymous(&mm, 1), page(first, 1));
    let low = map(&mm, Placement::Low, 2).unwrap();
    assert_eq!(low, UserAddr(0x8000_0000 - 2 * PAGE_SIZE));
    assert!(anonymous(&mm, 1) > UserAddr(1 << 40));
}

#[test]
fn neighbours_merge_and_holes_split() {
    let mm = memory();
    let start = anonymous(&mm, 8);
    assert_eq!(mm.statistics().mappings, 1);
    mm.protect(page(start, 2), PAGE_SIZE, READ).unwrap();
    assert_eq!(mm.statistics().mappings, 3);
    mm.protect(page(start, 2), PAGE_SIZE, READ_WRITE).unwrap();
    assert_eq!(mm.statistics().mappings, 1);
    mm.unmap(page(start, 4), PAGE_SIZE).unwrap();
    assert_eq!(mm.statistics().mappings, 2);
    assert_eq!(mm.unmap(page(start, 4), PAGE_SIZE), Ok(()));
    assert_eq!(mm.unmap(UserAddr(start.0 + 1), PAGE_SIZE), Err(Errno::EINVAL));
    assert_eq!(mm.unmap(start, 0), Err(Errno::EINVAL));
}

#[test]
fn dropped_pages_read_as_zeros() {
    let mm = memory();
    let start = anonymous(&mm, 3);
    for index in 0..3 {
        mm.write(page(start, index), &0xaa_u8).unwrap();
    }
    let drop = Advice::DontNeed { locked: false };
    let free = hal::memory::statistics().free;
    mm.advise(page(start, 1), PAGE_SIZE, drop).unwrap();
    assert_eq!(hal::memory::statistics().free, free + 1);
    assert_eq!(byte(&mm, start), Ok(0xaa));
    assert_eq!(byte(&mm, page(start, 1)), Ok(0));
    assert_eq!(byte(&mm, page(start, 2)), Ok(0xaa));
    assert_eq!(mm.advise(page(start, 2), 2 * PAGE_SIZE, drop), Err(Errno::ENOMEM));
    assert_eq!(byte(&mm, page(start, 2)), Ok(0));
    assert_eq!(mm.advise(UserAddr(start.0 + 1), 1, drop), Err(Errno::EINVAL));
}

#[test]
fn locked_memory_is_not_dropped() {
    let mm = memory();
    let start = anonymous(&mm, 2);
    mm.lock(start, PAGE_SIZE, false).unwrap();
    assert_eq!(mm.statistics().locked_bytes, PAGE_SIZE);
    assert_eq!(mm.statistics().resident_bytes, PAGE_SIZE);
    let drop = Advice::DontNeed { locked: false };
    assert_eq!(mm.advise(start, PAGE_SIZE, drop), Err(Errno::EINVAL));
    assert_eq!(mm.sync(start, PAGE_SIZE, MsyncFlags::INVALIDATE), Err(Errno::EBUSY));
    mm.unlock(start, PAGE_SIZE).unwrap();
    assert_eq!(mm.advise(start, PAGE_SIZE, drop), Ok(()));
    mm.lock_all(MlockallFlags::FUTURE);
    anonymous(&mm, 4);
    assert_eq!(mm.statistics().resident_bytes, 4 * PAGE_SIZE);
    mm.lock_all(MlockallFlags::empty());
    assert_eq!(mm.statistics().locked_bytes, 0);
}

#[test]
fn private_file_pages_are_in_place_until_written() {
    let mm = memory();
    let data = TestFile::new(100);
    let free = hal::memory::statistics().free;
    let content = file(&data, 10, false, false);
    let request =
        MapRequest::new(Placement::Hint(UserAddr::NULL), 80 * PAGE_SIZE, READ_WRITE, content);
    let start = mm.map(request).unwrap();
    assert_eq!(byte(&mm, page(start, 40)), Ok(file_byte(50)));
    assert_eq!(hal::memory::statistics().free, free);
    // Those around came with it, all of them with the right content.
    assert!(mm.statistics().resident_bytes > 8 * PAGE_SIZE);
    for index in 0..80 {
        assert_eq!(byte(&mm, page(start, index)), Ok(file_byte(10 + index)));
    }
    mm.write(page(start, 40), &1_u8).unwrap();
    assert_eq!(hal::memory::statistics().free, free - 1);
    assert_eq!(byte(&mm, page(start, 40)), Ok(1));
    assert_eq!(byte(&mm, UserAddr(page(start, 40).0 + 1)), Ok(file_byte(50)));
    mm.advise(page(start, 40), PAGE_SIZE, Advice::DontNeed { locked: false }).unwrap();
    assert_eq!(byte(&mm, page(start, 40)), Ok(file_byte(50)));
}

#[test]
fn shared_file_pages_are_the_file() {
    let mm = memory();
    let data = TestFile::new(4);
    let anywhere = Placement::Hint(UserAddr::NULL);
    let of = |protection, writable| {
        let content = file(&data, 0, true, writable);
        mm.map(MapRequest::new(anywhere, 4 * PAGE_SIZE, protection, content))
    };
    let one = of(READ_WRITE, true).unwrap();
    let two = of(READ_WRITE, true).unwrap();
    assert_eq!(byte(&mm, two), Ok(file_byte(0)));
    mm.write(one, &3_u8).unwrap();
    assert_eq!(byte(&mm, two), Ok(3));
    mm.advise(one, PAGE_SIZE, Advice::DontNeed { locked: false }).unwrap();
    assert_eq!(byte(&mm, one), Ok(3));
    assert_eq!(of(READ_WRITE, false), Err(Errno::EACCES));
    let reader = of(READ, false).unwrap();
    assert_eq!(byte(&mm, reader), Ok(3));
    assert_eq!(mm.protect(reader, PAGE_SIZE, READ_WRITE), Err(Errno::EACCES));
    assert_eq!(mm.sync(one, 4 * PAGE_SIZE, MsyncFlags::SYNC), Ok(()));
}

#[test]
fn faults_say_why() {
    let mm = memory();
    let start = anonymous(&mm, 2);
    mm.protect(start, PAGE_SIZE, READ).unwrap();
    let segv = |code| Err(FaultError::Segv { code });
    assert_eq!(fault(&mm, UserAddr(0), Access::Read), segv(SegvCode::MapError));
    assert_eq!(fault(&mm, UserAddr(u64::MAX), Access::Read), segv(SegvCode::MapError));
    assert_eq!(fault(&mm, start, Access::Write), segv(SegvCode::AccessError));
    assert_eq!(fault(&mm, page(start, 1), Access::Execute), segv(SegvCode::AccessError));
    assert_eq!(fault(&mm, page(start, 1), Access::Write), Ok(()));
    let short = TestFile::new(1);
    let content = file(&short, 0, false, false);
    let two_pages =
        MapRequest::new(Placement::Hint(UserAddr::NULL), 2 * PAGE_SIZE, READ_WRITE, content);
    let mapped = mm.map(two_pages).unwrap();
    assert_eq!(fault(&mm, mapped, Access::Read), Ok(()));
    assert_eq!(fault(&mm, page(mapped, 1), Access::Read), Err(FaultError::Bus));
}

#[test]
fn no_memory_is_said_and_survived() {
    let mm = memory();
    let start = anonymous(&mm, 8192);
    let result = (0..8192).try_for_each(|index| fault(&mm, page(start, index), Access::Write));
    assert_eq!(result, Err(FaultError::OutOfMemory));
    mm.unmap(start, 8192 * PAGE_SIZE).unwrap();
    let again = anonymous(&mm, 1);
    assert_eq!(fault(&mm, again, Access::Write), Ok(()));
}

#[test]
fn memory_touched_in_order_needs_fewer_faults() {
    let mm = memory();
    let start = anonymous(&mm, 64);
    let mut faults = 0;
    for index in 0..64 {
        if mm.space().lookup(page(start, index)).is_none() {
            fault(&mm, page(start, index), Access::Write).unwrap();
            faults += 1;
        }
    }
    assert!(faults <= 9, "{faults} faults");
    // At random, each touch makes one page.
    let other = anonymous(&mm, 64);
    for index in [50, 3, 20, 41] {
        fault(&mm, page(other, index), Access::Write).unwrap();
    }
    assert_eq!(mm.statistics().resident_bytes, (64 + 4) * PAGE_SIZE);
}

#[test]
fn read_only_zeros_cost_no_memory_until_written() {
    let mm = memory();
    let start = anonymous(&mm, 16);
    mm.protect(start, 16 * PAGE_SIZE, READ).unwrap();
    let free = hal::memory::statistics().free;
    for index in 0..16 {
        assert_eq!(byte(&mm, page(start, index)), Ok(0));
    }
    assert_eq!(hal::memory::statistics().free, free);
    mm.protect(start, 16 * PAGE_SIZE, READ_WRITE).unwrap();
    mm.write(start, &9_u8).unwrap();
    assert_eq!(byte(&mm, page(start, 1)), Ok(0));
    assert_eq!(hal::memory::statistics().free, free - 1);
}

#[test]
fn protection_none_keeps_content() {
    let mm = memory();
    let start = anonymous(&mm, 1);
    mm.write(start, &5_u8).unwrap();
    mm.protect(start, PAGE_SIZE, NONE).unwrap();
    assert_eq!(byte(&mm, start), Err(Errno::EFAULT));
    mm.protect(start, PAGE_SIZE, READ).unwrap();
    assert_eq!(byte(&mm, start), Ok(5));
}

#[test]
fn mremap_shrinks_grows_and_moves() {
    let mm = memory();
    let may_move = MremapFlags::MAYMOVE;
    let nowhere = UserAddr::NULL;
    let start = map(&mm, Placement::Fixed(UserAddr(0x20_0000_0000)), 4).unwrap();
    mm.write(page(start, 1), &6_u8).unwrap();
    let grown = mm.remap(start, 4 * PAGE_SIZE, 8 * PAGE_SIZE, MremapFlags::empty(), nowhere);
    assert_eq!(grown, Ok(start));
    assert_eq!(mm.statistics().mappings, 1);
    let shrunk = mm.remap(start, 8 * PAGE_SIZE, 2 * PAGE_SIZE, MremapFlags::empty(), nowhere);
    assert_eq!(shrunk, Ok(start));
    map(&mm, Placement::Fixed(page(start, 2)), 1).unwrap();
    mm.protect(page(start, 2), PAGE_SIZE, READ).unwrap();
    let refused = mm.remap(start, 2 * PAGE_SIZE, 4 * PAGE_SIZE, MremapFlags::empty(), nowhere);
    assert_eq!(refused, Err(Errno::ENOMEM));
    let moved = mm.remap(start, 2 * PAGE_SIZE, 4 * PAGE_SIZE, may_move, nowhere).unwrap();
    assert_ne!(moved, start);
    assert_eq!(byte(&mm, page(moved, 1)), Ok(6));
    assert_eq!(byte(&mm, page(moved, 3)), Ok(0));
    assert_eq!(byte(&mm, page(start, 1)), Err(Errno::EFAULT));
    assert_eq!(mm.remap(start, PAGE_SIZE, PAGE_SIZE, may_move, nowhere), Err(Errno::EFAULT));
    assert_eq!(mm.remap(moved, PAGE_SIZE, 0, may_move, nowhere), Err(Errno::EINVAL));
    assert_eq!(mm.remap(moved, 0, PAGE_SIZE, may_move, nowhere), Err(Errno::EINVAL));
    let kept = mm.remap(moved, PAGE_SIZE, PAGE_SIZE, may_move | MremapFlags::DONTUNMAP, nowhere);
    assert!(kept.is_ok());
    assert_eq!(byte(&mm, moved), Ok(0));
}

#[test]
fn a_shared_mapping_can_be_seen_twice() {
    let mm = memory();
    let request = MapRequest::new(
        Placement::Hint(UserAddr::NULL),
        2 * PAGE_SIZE,
        READ_WRITE,
        Content::SharedAnonymous,
    );
    let one = mm.map(request).unwrap();
    mm.write(page(one, 1), &4_u8).unwrap();
    let two = mm.remap(one, 0, 2 * PAGE_SIZE, MremapFlags::MAYMOVE, UserAddr::NULL).unwrap();
    assert_eq!(byte(&mm, page(two, 1)), Ok(4));
    mm.write(two, &8_u8).unwrap();
    assert_eq!(byte(&mm, one), Ok(8));
    mm.advise(one, 2 * PAGE_SIZE, Advice::Remove).unwrap();
    assert_eq!(byte(&mm, page(one, 1)), Ok(0));
}

#[test]
fn the_program_break_grows_and_shrinks() {
    let mm = memory();
    let start = UserAddr(0x60_1000);
    mm.set_program_break(start);
    assert_eq!(mm.brk(UserAddr(0)), start);
    let wanted = UserAddr(start.0 + 5000);
    assert_eq!(mm.brk(wanted), wanted);
    mm.write(UserAddr(start.0 + 4999), &1_u8).unwrap();
    assert_eq!(mm.brk(UserAddr(start.0 + 10)), UserAddr(start.0 + 10));
    assert_eq!(byte(&mm, page(start, 1)), Err(Errno::EFAULT));
    assert_eq!(mm.brk(wanted), wanted);
    assert_eq!(byte(&mm, page(start, 1)), Ok(0));
    map(&mm, Placement::Fixed(page(start, 2)), 1).unwrap();
    assert_eq!(mm.brk(page(start, 3)), wanted);
}

#[test]
fn copies_cross_pages_and_stop_at_holes() {
    let mm = memory();
    let start = anonymous(&mm, 3);
    let bytes: Vec<u8> = (0..10_000).map(|index| index as u8).collect();
    mm.write_bytes(UserAddr(start.0 + 100), &bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    mm.read_bytes(UserAddr(start.0 + 100), &mut back).unwrap();
    assert_eq!(back, bytes);
    let near_end = UserAddr(start.0 + 3 * PAGE_SIZE - 10);
    assert_eq!(mm.write_partly(near_end, &bytes), 10);
    assert_eq!(mm.write_bytes(near_end, &bytes), Err(Errno::EFAULT));
    assert_eq!(mm.read_bytes(UserAddr(u64::MAX - 4), &mut back), Err(Errno::EFAULT));
    mm.clear(start, 3 * PAGE_SIZE).unwrap();
    assert_eq!(byte(&mm, UserAddr(start.0 + 5000)), Ok(0));
    assert_eq!(mm.clear(start, 3 * PAGE_SIZE + 1), Err(Errno::EFAULT));
}

#[test]
fn strings_end_at_their_nul_or_are_refused() {
    let mm = memory();
    let start = anonymous(&mm, 1);
    let end = UserAddr(start.0 + PAGE_SIZE - 4);
    mm.write_bytes(end, b"abc\0").unwrap();
    assert_eq!(mm.read_c_string(end, 4096), Ok(b"abc".to_vec()));
    assert_eq!(mm.read_c_string(end, 3), Err(Errno::ENAMETOOLONG));
    mm.write_bytes(end, b"abcd").unwrap();
    assert_eq!(mm.read_c_string(end, 4096), Err(Errno::EFAULT));
    mm.write_bytes(start, &[b'x'; 1000]).unwrap();
    assert_eq!(mm.read_c_string(start, 4096).map(|string| string.len()), Ok(1000));
}

#[test]
fn futex_words_are_loaded_and_exchanged() {
    let mm = memory();
    let start = anonymous(&mm, 1);
    assert_eq!(mm.load_u32(start), Ok(0));
    assert_eq!(mm.compare_exchange_u32(start, 0, 5), Ok(0));
    assert_eq!(mm.compare_exchange_u32(start, 0, 6), Ok(5));
    assert_eq!(mm.load_u32(start), Ok(5));
    assert_eq!(mm.load_u32(UserAddr(start.0 + 2)), Err(Errno::EINVAL));
    assert_eq!(mm.load_u32(UserAddr(16)), Err(Errno::EFAULT));
    mm.protect(start, PAGE_SIZE, READ).unwrap();
    assert_eq!(mm.compare_exchange_u32(start, 5, 6), Err(Errno::EFAULT));
}

#[test]
fn streams_scatter_and_gather() {
    let mm = memory();
    let start = anonymous(&mm, 2);
    let pieces = [
        Piece { address: start, bytes: 3 },
        Piece { address: UserAddr(0), bytes: 0 },
        Piece { address: UserAddr(start.0 + 100), bytes: 5 },
        Piece { address: UserAddr(16), bytes: 4 },
    ];
    let mut sink = UserSink::scatter(&mm, &pieces);
    assert_eq!(sink.room(), 12);
    assert_eq!(sink.put(b"ab"), Ok(2));
    assert_eq!(sink.put(b"cdefghij"), Ok(6));
    assert_eq!(sink.put(b"ij"), Err(Errno::EFAULT));
    let mut source = UserSource::gather(&mm, &pieces);
    let mut back = [0; 8];
    assert_eq!(source.take(&mut back), Ok(8));
    assert_eq!(&back, b"abcdefgh");
    let mut short = UserSource::new(&mm, start, 2);
    assert_eq!(short.take(&mut back), Ok(2));
    assert_eq!(short.take(&mut back), Ok(0));
    let array: [u64; 4] = [start.0, 3, start.0 + 100, 5];
    mm.write(page(start, 1), array.as_slice()).unwrap();
    assert_eq!(mm.read_pieces(page(start, 1), 2).unwrap()[1], pieces[2]);
    assert_eq!(mm.read_pieces(page(start, 1), 1025), Err(Errno::EINVAL));
    mm.write(page(start, 1), [start.0, u64::MAX].as_slice()).unwrap();
    assert_eq!(mm.read_pieces(page(start, 1), 1), Err(Errno::EINVAL));
}

#[test]
fn truncated_files_take_their_pages_back() {
    let mm = memory();
    let data = TestFile::new(8);
    let content = file(&data, 2, true, true);
    let request = MapRequest::new(Placement::Hint(UserAddr::NULL), 4 * PAGE_SIZE, READ, content);
    let start = mm.map(request).unwrap();
    for index in 0..4 {
        byte(&mm, page(start, index)).unwrap();
    }
    mm.file_truncated(data.identity(), 3);
    assert_eq!(mm.statistics().resident_bytes, PAGE_SIZE);
}

#[test]
fn residency_is_told() {
    let mm = memory();
    let start = anonymous(&mm, 3);
    mm.write(page(start, 1), &1_u8).unwrap();
    let mut present = [9; 3];
    let range = PageRange::from_length(start, 3 * PAGE_SIZE).unwrap();
    assert_eq!(mm.mincore(range, &mut present), Ok(()));
    assert_eq!(present, [0, 1, 0]);
    let beyond = PageRange::from_length(page(start, 2), 2 * PAGE_SIZE).unwrap();
    assert_eq!(mm.mincore(beyond, &mut present), Err(Errno::ENOMEM));
}

#[test]
fn maps_reads_like_linux() {
    let mm = memory();
    let data = TestFile::new(8);
    let fixed = |address| Placement::Fixed(UserAddr(address));
    let content = file(&data, 2, false, false);
    mm.map(MapRequest::new(fixed(0x40_0000), 0x2000, READ, content)).unwrap();
    let mut stack = MapRequest::anonymous(fixed(0x7f00_0000_0000), 0x1000, READ_WRITE);
    stack.label = Label::Stack;
    mm.map(stack).unwrap();
    map(&mm, fixed(0x7f10_0000_0000), 1).unwrap();
    mm.set_name(UserAddr(0x7f10_0000_0000), PAGE_SIZE, Some("Go: heap")).unwrap();
    assert_eq!(mm.set_name(UserAddr(0x40_0000), PAGE_SIZE, Some("x")), Err(Errno::EBADF));
    map(&mm, fixed(0x7f20_0000_0000), 1).unwrap();
    let mut text = String::new();
    mm.maps(&mut text).unwrap();
    let expected = "\
00400000-00402000 r--p 00002000 08:01 77                                 /srv/data
7f0000000000-7f0000001000 rw-p 00000000 00:00 0                          [stack]
7f1000000000-7f1000001000 rw-p 00000000 00:00 0                          [anon:Go: heap]
7f2000000000-7f2000001000 rw-p 00000000 00:00 0 
";
    assert_eq!(text, expected.to_string());
    let mut rollup = String::new();
    mm.smaps_rollup(&mut rollup).unwrap();
    assert!(rollup.contains("Rss:                   0 kB\n"), "{rollup}");
    mm.write(UserAddr(0x7f00_0000_0000), &1_u8).unwrap();
    byte(&mm, UserAddr(0x40_0000)).unwrap();
    let mut smaps = String::new();
    mm.smaps(&mut smaps).unwrap();
    assert_eq!(smaps.matches("VmFlags: rd").count(), 4, "{smaps}");
    assert!(smaps.contains("Private_Clean:         8 kB\n"), "{smaps}");
    assert!(smaps.contains("Anonymous:             4 kB\n"), "{smaps}");
}
