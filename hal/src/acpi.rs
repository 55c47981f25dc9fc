//! What ACPI's tables say of the end of the machine (how it is reset, and switched off), of clocks, and
//! of PCI's configuration space. Read byte by byte; nothing in them is trusted. Sections are those of
//! ACPI 6.5.

/// A table: its byte at an offset. `None`: beyond its end.
pub(crate) trait Table: Fn(usize) -> Option<u8> {}
impl<T: Fn(usize) -> Option<u8>> Table for T {}

fn integer(table: &impl Table, at: usize, bytes: usize) -> Option<u64> {
    (0..bytes).rev().try_fold(0, |value, byte| Some(value << 8 | u64::from(table(at + byte)?)))
}

/// Where a byte is written to reset the machine (4.8.4.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResetRegister {
    /// An I/O port.
    Port(u16),
    /// Configuration space of a PCI function on bus 0: device, function, offset.
    Function(u8, u8, u8),
}

/// The reset register of the FADT and what to write (5.2.9). `None`: it has none, or one in memory.
pub(crate) fn reset(fadt: &impl Table) -> Option<(ResetRegister, u8)> {
    const FLAGS: usize = 112;
    const SUPPORTED: u64 = 1 << 10;
    const REGISTER: usize = 116;
    const VALUE: usize = 128;
    const IN_PORTS: u8 = 1;
    const IN_FUNCTION: u8 = 2;
    if integer(fadt, FLAGS, 4)? & SUPPORTED == 0 {
        return None;
    }
    let address = integer(fadt, REGISTER + 4, 8)?;
    let register = match fadt(REGISTER)? {
        IN_PORTS => ResetRegister::Port(u16::try_from(address).ok().filter(|port| *port != 0)?),
        IN_FUNCTION => {
            let [offset, _, function, _, device, _, bus, reserved] = address.to_le_bytes();
            let valid = device < 32 && function < 8 && bus == 0 && reserved == 0;
            valid.then_some(ResetRegister::Function(device, function, offset))?
        }
        _ => return None,
    };
    Some((register, fadt(VALUE)?))
}

/// The power management timer in the FADT (4.8.3.3): its port, and whether it counts 32 bits instead of
/// 24. `None`: there is none.
pub(crate) fn timer(fadt: &impl Table) -> Option<(u16, bool)> {
    const PORT: usize = 76;
    const LENGTH: usize = 91;
    const FLAGS: usize = 112;
    const WIDE: u64 = 1 << 8;
    let port = u16::try_from(integer(fadt, PORT, 4)?).ok().filter(|port| *port != 0)?;
    (fadt(LENGTH)? == 4).then_some((port, integer(fadt, FLAGS, 4)? & WIDE != 0))
}

/// Physical address of the registers of the high precision event timers, from their table (IA-PC HPET
/// 1.0a, 3.2.4). `None`: they do not lie in memory.
pub(crate) fn event_timers(hpet: &impl Table) -> Option<u64> {
    const SPACE: usize = 40;
    const IN_MEMORY: u8 = 0;
    let address = integer(hpet, SPACE + 4, 8)?;
    (hpet(SPACE)? == IN_MEMORY && address != 0 && address.is_multiple_of(8)).then_some(address)
}

/// Configuration space in memory: 4 KiB a function, 1 MiB a bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ecam {
    /// Physical address of bus 0, whether that is among the buses or not.
    pub(crate) base: u64,
    pub(crate) first_bus: u8,
    pub(crate) last_bus: u8,
}

/// The first row of the MCFG for segment 0 (PCI Firmware Specification 3.3, 4.1.2).
pub(crate) fn ecam(mcfg: &impl Table) -> Option<Ecam> {
    const FIRST_ROW: usize = 44;
    const ROW_BYTES: usize = 16;
    const BUS_BYTES: u64 = 1 << 20;
    const MOST_ROWS: usize = 64;
    let rows = (0..MOST_ROWS).map(|row| FIRST_ROW + row * ROW_BYTES);
    rows.map_while(|at| Some((integer(mcfg, at, 8)?, integer(mcfg, at + 8, 4)?)))
        .find(|(base, numbers)| *numbers as u16 == 0 && *base != 0 && base % BUS_BYTES == 0)
        .map(|(base, numbers)| {
            let [_, _, first_bus, last_bus] = (numbers as u32).to_le_bytes();
            Ecam { base, first_bus, last_bus }
        })
        .filter(|ecam| ecam.first_bus <= ecam.last_bus && ecam.base < 1 << 46)
}

/// The ports of the PM1 control registers in the FADT, 0: there is none (4.8.3.2).
pub(crate) fn controls(fadt: &impl Table) -> Option<[u16; 2]> {
    const PM1A: usize = 64;
    const PM1B: usize = 68;
    let port = |at| Some(u16::try_from(integer(fadt, at, 4)?).unwrap_or(0));
    Some([port(PM1A)?, port(PM1B)?])
}

/// Address of the DSDT in the FADT.
pub(crate) fn dsdt(fadt: &impl Table) -> Option<u64> {
    const NEAR: usize = 40;
    const FAR: usize = 140;
    let far = integer(fadt, FAR, 8).filter(|address| *address != 0);
    far.or_else(|| integer(fadt, NEAR, 4)).filter(|address| *address != 0)
}

/// The sleep types for soft-off, for each of the two control registers: the first elements of the
/// package `\_S5_` in the DSDT (7.4.2.6), which all firmware writes as constants. AML as a whole is
/// not read.
pub(crate) fn soft_off(dsdt: &impl Table) -> Option<[u8; 2]> {
    /// `Name (\_S5_, Package` or without the root's sign (20.2.5.1): NameOp stands before.
    const NAME: [u8; 5] = *b"_S5_\x12";
    const NAME_OP: u8 = 0x08;
    const LARGEST: usize = 1 << 20;
    let is_name = |at: &usize| {
        NAME.iter().enumerate().all(|(n, wanted)| dsdt(at + n) == Some(*wanted))
            && (dsdt(at.wrapping_sub(1)) == Some(NAME_OP)
                || (dsdt(at.wrapping_sub(1)) == Some(b'\\')
                    && dsdt(at.wrapping_sub(2)) == Some(NAME_OP)))
    };
    let name = (0..LARGEST).take_while(|at| dsdt(*at).is_some()).find(is_name)?;
    // The package's length takes a byte, and as many more as its highest bits say (20.2.4).
    let length = name + NAME.len();
    let mut at = length + 1 + usize::from(dsdt(length)? >> 6);
    let count = dsdt(at)?;
    at += 1;
    let mut types = [0; 2];
    for slot in types.iter_mut().take(usize::from(count)) {
        *slot = constant(dsdt, &mut at)?;
    }
    (count > 0).then_some(types)
}

/// A constant of three bits (20.2.3).
fn constant(table: &impl Table, at: &mut usize) -> Option<u8> {
    const ZERO: u8 = 0;
    const ONE: u8 = 1;
    const BYTE: u8 = 0x0a;
    let value = match table(*at)? {
        short @ (ZERO | ONE) => short,
        BYTE => {
            *at += 1;
            table(*at)?
        }
        _ => return None,
    };
    *at += 1;
    (value < 8).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(bytes: &[u8]) -> impl Table + '_ {
        |at| bytes.get(at).copied()
    }

    /// A FADT with a reset register in this address space.
    fn fadt(space: u8, address: u64) -> Vec<u8> {
        let mut bytes = vec![0; 244];
        bytes[112..116].copy_from_slice(&(1u32 << 10).to_le_bytes());
        bytes[116] = space;
        bytes[120..128].copy_from_slice(&address.to_le_bytes());
        bytes[128] = 0x0f;
        bytes
    }

    #[test]
    fn the_reset_register_is_a_port_or_a_function() {
        let found = |bytes: &[u8]| reset(&table(bytes));
        let port = fadt(1, 0xcf9);
        assert_eq!(found(&port), Some((ResetRegister::Port(0xcf9), 0x0f)));
        let function = fadt(2, 0x0000_001f_0002_0044);
        assert_eq!(found(&function), Some((ResetRegister::Function(0x1f, 2, 0x44), 0x0f)));
        for (space, address) in
            [(0, 0xfed0_0000), (1, 0), (1, 0x1_0000), (2, 0x20_0000_0044), (3, 1)]
        {
            assert_eq!(found(&fadt(space, address)), None, "{space} {address:#x}");
        }
        let mut without = port.clone();
        without[113] = 0;
        assert_eq!(found(&without), None);
        for length in 0..129 {
            assert_eq!(found(&port[..length]), None, "cut off after {length}");
        }
    }

    #[test]
    fn control_registers_and_the_large_table() {
        let mut bytes = fadt(1, 0xcf9);
        bytes[64..68].copy_from_slice(&0x604u32.to_le_bytes());
        bytes[40..44].copy_from_slice(&0x7fe_0040_u32.to_le_bytes());
        assert_eq!(controls(&table(&bytes)), Some([0x604, 0]));
        assert_eq!(dsdt(&table(&bytes)), Some(0x7fe_0040));
        assert_eq!(dsdt(&table(&bytes[..116])), Some(0x7fe_0040));
        bytes[140..148].copy_from_slice(&0x1234_5678_u64.to_le_bytes());
        assert_eq!(dsdt(&table(&bytes)), Some(0x1234_5678));
        assert_eq!(controls(&table(&bytes[..70])), None);
    }

    #[test]
    fn clocks() {
        let mut bytes = fadt(1, 0xcf9);
        assert_eq!(timer(&table(&bytes)), None);
        bytes[76..80].copy_from_slice(&0x608_u32.to_le_bytes());
        bytes[91] = 4;
        assert_eq!(timer(&table(&bytes)), Some((0x608, false)));
        bytes[113] |= 1;
        assert_eq!(timer(&table(&bytes)), Some((0x608, true)));
        assert_eq!(timer(&table(&bytes[..112])), None);
        let mut bytes = vec![0; 56];
        bytes[44..52].copy_from_slice(&0xfed0_0000_u64.to_le_bytes());
        assert_eq!(event_timers(&table(&bytes)), Some(0xfed0_0000));
        bytes[40] = 1;
        assert_eq!(event_timers(&table(&bytes)), None);
        assert_eq!(event_timers(&table(&bytes[..51])), None);
    }

    #[test]
    fn configuration_space_in_memory() {
        let row = |base: u64, segment: u16, first: u8, last: u8| {
            let mut row = base.to_le_bytes().to_vec();
            row.extend(segment.to_le_bytes());
            row.extend([first, last, 0, 0, 0, 0]);
            row
        };
        let found = |rows: &[Vec<u8>]| ecam(&table(&[vec![0; 44], rows.concat()].concat()));
        let (second, first) = (row(0xc000_0000, 1, 0, 255), row(0xb000_0000, 0, 0, 255));
        let wanted = Ecam { base: 0xb000_0000, first_bus: 0, last_bus: 255 };
        assert_eq!(found(&[second.clone(), first.clone()]), Some(wanted));
        assert_eq!(found(&[second]), None);
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[first[..11].to_vec()]), None);
        for wrong in [row(0, 0, 0, 255), row(0xb000_1000, 0, 0, 255), row(0xb000_0000, 0, 9, 8)] {
            assert_eq!(found(&[wrong]), None);
        }
    }

    #[test]
    fn soft_off_is_found_as_firmware_writes_it() {
        let found = |bytes: &[u8]| soft_off(&table(bytes));
        // QEMU's, VirtualBox' (with the root's sign), one with a long length and a single element.
        let qemu = b"DSDT....\x08_S5_\x12\x06\x04\x00\x00\x00\x00rest";
        assert_eq!(found(qemu), Some([0, 0]));
        let other = b"_S5_\x08\\_S5_\x12\x08\x04\x0a\x05\x0a\x06\x00\x00";
        assert_eq!(found(other), Some([5, 6]));
        assert_eq!(found(b"\x08_S5_\x12\x46\x00\x01\x01"), Some([1, 0]));
        for wrong in [
            &b"\x08_S5_\x12\x06\x00\x01\x01"[..],
            b"\x08_S5_\x12\x06\x02\x0a\x09\x00",
            b"\x08_S5_\x12\x06\x02\x0b\x01\x00\x01",
            b"\x09_S5_\x12\x06\x02\x01\x01",
            b"\x08_S4_\x12\x06\x02\x01\x01",
            b"",
        ] {
            assert_eq!(found(wrong), None, "{wrong:?}");
        }
        for length in 0..other.len() - 2 {
            assert_eq!(found(&other[..length]), None, "cut off after {length}");
        }
    }
}
