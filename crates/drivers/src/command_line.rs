//! Devices named on the kernel command line, as Linux takes them:
//! `virtio_mmio.device=<size>@<address>:<interrupt>[:<id>]`, with C number prefixes and K, M or G
//! behind the size. QEMU's microvm and Firecracker append these words by themselves.

use base::PhysAddr;

/// A virtio-mmio device named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MmioSlot {
    /// First register.
    pub(crate) address: PhysAddr,
    /// Bytes of registers.
    pub(crate) bytes: usize,
    /// Global interrupt number (input of the I/O APIC).
    pub(crate) interrupt: u32,
}

/// No device has more registers than this.
const LARGEST_SLOT: u64 = 1 << 20;
/// The registers of §4.2.2 without device configuration.
const SMALLEST_SLOT: u64 = 0x100;

/// The devices named in `command_line`; words that do not parse come as errors.
pub(crate) fn mmio_slots(command_line: &str) -> impl Iterator<Item = Result<MmioSlot, &str>> {
    command_line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("virtio_mmio.device="))
        .map(|value| parse_slot(value).ok_or(value))
}

fn parse_slot(value: &str) -> Option<MmioSlot> {
    let (size, rest) = value.split_once('@')?;
    let mut fields = rest.split(':');
    let address = parse_number(fields.next()?)?;
    let interrupt = parse_number(fields.next()?)?;
    let bytes = parse_size(size)?;
    address.checked_add(bytes)?;
    (SMALLEST_SLOT..=LARGEST_SLOT).contains(&bytes).then_some(())?;
    Some(MmioSlot {
        address: PhysAddr(address),
        bytes: usize::try_from(bytes).ok()?,
        interrupt: u32::try_from(interrupt).ok()?,
    })
}

fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (text.get(..text.len() - 1)?, 10),
        b'M' => (text.get(..text.len() - 1)?, 20),
        b'G' => (text.get(..text.len() - 1)?, 30),
        _ => (text, 0),
    };
    parse_number(digits)?.checked_mul(1 << shift)
}

fn parse_number(text: &str) -> Option<u64> {
    let lower = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match lower {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // from_str_radix would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(())?;
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn takes_what_qemu_and_firecracker_append() {
        let line = "env=A=b virtio_mmio.device=512@0xfeb00e00:12 quiet \
                    virtio_mmio.device=4K@0xd0000000:5:1";
        let slots: Vec<_> = mmio_slots(line).map(Result::unwrap).collect();
        assert_eq!(
            slots,
            [
                MmioSlot { address: PhysAddr(0xfeb0_0e00), bytes: 512, interrupt: 12 },
                MmioSlot { address: PhysAddr(0xd000_0000), bytes: 4096, interrupt: 5 },
            ]
        );
    }

    #[test]
    fn refuses_nonsense() {
        for value in
            ["", "@", "512@", "512@0x1000", "+1@2:3", "512@0xffffffffffffffff:1", "1@0:1", "9G@0:1"]
        {
            let line = std::format!("virtio_mmio.device={value}");
            assert_eq!(mmio_slots(&line).next(), Some(Err(value)), "{value}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in ".{0,40}") {
            let line = std::format!("virtio_mmio.device={value}");
            let _ = mmio_slots(&line).count();
        }
    }
}
