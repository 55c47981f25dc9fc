//! Frames, the heap, and the copy routines.

use super::{Outcome, check};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use hal::boot::BootInfo;
use hal::memory::{self, Frame};

const PAGE: usize = 4096;

pub(crate) fn frames(_: &BootInfo) -> Outcome {
    let before = memory::statistics().free;
    let frame = Frame::zeroed().map_err(|_| "no frame")?;
    let mut bytes = vec![1; PAGE];
    frame.read(0, &mut bytes);
    check(bytes.iter().all(|byte| *byte == 0), "not zeroed")?;
    check(!frame.is_shared() && !frame.is_archive(), "wrong state")?;
    let same = frame.clone();
    check(frame.is_shared() && same.same(&frame), "not shared")?;
    same.write(PAGE - 2, &[1, 2, 3]);
    let mut tail = [9; 4];
    frame.read(PAGE - 2, &mut tail);
    check(tail == [1, 2, 9, 9], "write or read beyond the end")?;
    let copy = frame.duplicate().map_err(|_| "no copy")?;
    frame.clear(PAGE - 1, 100);
    frame.read(PAGE - 2, &mut tail[..2]);
    check(tail[..2] == [1, 0], "clear")?;
    copy.read(PAGE - 2, &mut tail[..2]);
    check(tail[..2] == [1, 2], "the copy changed too")?;
    drop(same);
    check(!frame.is_shared(), "still shared")?;
    drop((frame, copy));
    check(memory::statistics().free + 4 >= before, "frames leak")?;
    // Dirty frames come back clean.
    for _ in 0..100 {
        let frame = Frame::zeroed().map_err(|_| "no frame")?;
        let mut byte = [1];
        frame.read(77, &mut byte);
        check(byte == [0], "a used frame came back dirty")?;
        frame.write(77, &[5]);
    }
    Ok(())
}

pub(crate) fn copies(_: &BootInfo) -> Outcome {
    let source: Vec<u8> = (0..4096_u32).map(|n| (n * 7 + n / 256) as u8).collect();
    for length in (0..200).chain(500..680).chain([1023, 1024, 1025, 2000, 2047]) {
        for offset in [0, 1, 5, 8] {
            let mut target = vec![0xee; 2200];
            target[offset..offset + length].copy_from_slice(&source[3..3 + length]);
            check(target[offset..offset + length] == source[3..3 + length], "memcpy")?;
            check(target[offset + length] == 0xee, "memcpy wrote too much")?;
            check(target[..offset].iter().all(|b| *b == 0xee), "memcpy wrote before")?;
            if length > 0 {
                let (block, last) = (&source[3..3 + length], source[2 + length]);
                target[offset + length - 1] = last ^ 0x80;
                let order = target[offset..offset + length].cmp(block);
                check(order == (last ^ 0x80).cmp(&last), "memcmp")?;
            }
            target[offset..offset + length].fill(0x5a);
            check(target[offset..offset + length].iter().all(|b| *b == 0x5a), "memset")?;
            check(target[offset + length] == 0xee, "memset wrote too much")?;
            for (from, to) in [(0, offset), (offset, 0), (40, 40 + offset), (40 + offset, 40)] {
                let mut block = source.clone();
                block.copy_within(from..from + length, to);
                check(block[to..to + length] == source[from..from + length], "memmove")?;
                let untouched = block[to + length..] == source[to + length..];
                check(untouched && block[..to] == source[..to], "memmove wrote elsewhere")?;
            }
        }
    }
    Ok(())
}

pub(crate) fn heap(_: &BootInfo) -> Outcome {
    #[repr(align(256))]
    struct Aligned([u8; 300]);
    let start = memory::statistics();
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for size in (1..400).chain([1024, 2048, 2049, 5000, 100_000]) {
        blocks.push(vec![size as u8; size]);
    }
    let intact = |block: &Vec<u8>| block.iter().all(|byte| *byte == block.len() as u8);
    check(blocks.iter().all(intact), "blocks overlap")?;
    let aligned: Vec<Box<Aligned>> = (0..20).map(|n| Box::new(Aligned([n; 300]))).collect();
    let at = |block: &Aligned| core::ptr::from_ref(block).addr();
    check(aligned.iter().all(|block| at(block).is_multiple_of(256)), "alignment")?;
    check(aligned.iter().zip(0..).all(|(block, n)| block.0[299] == n), "aligned blocks overlap")?;
    drop((blocks, aligned));
    let mut growing = Vec::new();
    for number in 0..200_000_u32 {
        growing.push(number);
    }
    check(growing.iter().zip(0..).all(|(have, want)| *have == want), "growing lost bytes")?;
    growing.truncate(10);
    growing.shrink_to_fit();
    check(growing == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "shrinking lost bytes")?;
    drop(growing);
    // Larger than any contiguous block.
    if start.free > 10_000 {
        let mut large = vec![1_u8; 20 << 20];
        large.extend_from_slice(&[2; 5000]);
        check(large[(20 << 20) - 1] == 1 && large[20 << 20] == 2, "a large block")?;
    }
    let end = memory::statistics();
    check(end.heap < start.heap + 64, "the heap keeps what was freed")
}

pub(crate) fn exhaustion(_: &BootInfo) -> Outcome {
    let start = memory::statistics();
    // All of a large machine would take long.
    let limit = start.free.min(40_000);
    let mut frames = Vec::new();
    while (frames.len() as u64) < limit {
        let Ok(frame) = Frame::zeroed() else { break };
        frames.push(frame);
    }
    let got = frames.len() as u64;
    if limit == start.free {
        check(Frame::zeroed().is_err(), "more frames than there are")?;
        check(memory::statistics().free > 100, "no reserve is left")?;
        let heap = vec![1_u8; 100_000];
        check(heap.len() == 100_000, "the heap has no reserve")?;
        // Only single frames are free: large blocks are put together from them.
        let mut at = 0;
        frames.retain(|_| {
            at += 1;
            at % 2 == 0
        });
        let heap = vec![7_u8; 600_000];
        check(heap.iter().all(|byte| *byte == 7), "a scattered block")?;
    }
    drop(frames);
    let end = memory::statistics();
    check(got * 10 > limit * 7, "too few frames")?;
    check(end.free + 64 >= start.free, "frames leak")
}

pub(crate) fn archive(info: &BootInfo) -> Outcome {
    let Some(archive) = info.archive else { return Ok(()) };
    if let Some(page) = archive.get(..PAGE) {
        let frame = Frame::of_archive(page).ok_or("the archive is not page-aligned")?;
        check(frame.is_archive() && !frame.is_shared(), "wrong state")?;
        frame.write(0, b"no");
        let mut bytes = vec![0; PAGE];
        frame.read(0, &mut bytes);
        check(bytes == page, "content")?;
        let copy = frame.clone().duplicate().map_err(|_| "no copy")?;
        check(!copy.is_archive(), "the copy is of the archive")?;
        copy.read(0, &mut bytes);
        check(bytes == page, "content of the copy")?;
    }
    check(archive.get(1..PAGE + 1).is_none_or(|page| Frame::of_archive(page).is_none()), "align")?;
    static ELSEWHERE: [u8; PAGE] = [0; PAGE];
    check(Frame::of_archive(&ELSEWHERE).is_none(), "not the archive")
}
