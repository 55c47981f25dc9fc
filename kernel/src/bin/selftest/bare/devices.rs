//! What drivers use, and what the loader said.

use super::{Outcome, check};
use base::PhysAddr;
use hal::boot::BootInfo;
use hal::dma::{DmaBuffer, DmaRing};
use hal::mmio::MmioWindow;
use hal::{entropy, irq, pci};

pub(crate) fn boot_information(info: &BootInfo) -> Outcome {
    check(!info.memory.is_empty(), "no memory")?;
    let (start, end) = info.kernel;
    check(start < end, "kernel range")?;
    let inside = info.memory.iter().any(|range| range.start <= start && end <= range.end);
    check(inside, "the kernel is not in memory")?;
    check(info.memory.is_sorted() && info.start_tsc > 0, "memory map")
}

pub(crate) fn ports(info: &BootInfo) -> Outcome {
    let mut buffer = DmaBuffer::new(100).map_err(|_| "no memory")?;
    check(buffer.len() == 100 && buffer.iter().all(|byte| *byte == 0), "small buffer")?;
    check(buffer.physical().0.is_multiple_of(128), "small buffer's alignment")?;
    buffer[99] = 1;
    let large = DmaBuffer::new(300_000).map_err(|_| "no memory")?;
    check(large.len() == 300_000 && large.physical().0.is_multiple_of(4096), "large buffer")?;
    check(DmaBuffer::new(usize::MAX / 2).is_err(), "a buffer larger than memory")?;
    let ring = DmaRing::new(10_000).map_err(|_| "no memory")?;
    ring.write_u16(2, 0x1234);
    ring.write_u64(9992, 7);
    check(ring.read_u32(0) == 0x1234_0000 && ring.read_u64(9992) == 7, "ring")?;
    ring.write_u32(9998, 1);
    ring.write_u32(1, 1);
    ring.write_u64(usize::MAX, 1);
    check(ring.read_u32(9998) == 0 && ring.read_u16(usize::MAX) == 0, "ring's end")?;
    let memory = info.memory.first().map_or(0, |range| range.start);
    check(MmioWindow::map(PhysAddr(memory), 4096).is_none(), "memory mapped as a device")?;
    check(MmioWindow::map(PhysAddr(0xfee0_0000), 4096).is_none(), "the APIC was given away")?;
    check(MmioWindow::map(PhysAddr(u64::MAX - 5), 4096).is_none(), "wraps")?;
    let window = MmioWindow::map(PhysAddr(0xfeb0_0000), 512).ok_or("cannot map a device")?;
    let _ = window.read_u32(0);
    check(window.read_u32(510) == 0 && window.part(500, 13).is_none(), "window's end")?;
    let nowhere = pci::Address { bus: 255, device: 31, function: 7 };
    check(pci::read(nowhere, 0) == u32::MAX && pci::read(nowhere, 3) == u32::MAX, "PCI")?;
    let mut seeds = [[0; 40]; 2];
    for seed in &mut seeds {
        entropy::seed(seed);
    }
    check(seeds[0] != seeds[1] && seeds[0] != [0; 40], "entropy")?;
    let (irq, message) = irq::allocate_message().ok_or("no message")?;
    check(irq.0 < 64 && message.address >> 20 == 0xfee && message.data >= 0x30, "message")?;
    check(irq::allocate_line(5000).is_none(), "a line that does not exist")
}
