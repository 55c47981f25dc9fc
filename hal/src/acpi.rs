//! What ACPI's tables say of the end of the machine: how it is reset, and how it is switched off. Read
//! byte by byte; nothing in them is trusted. Sections are those of ACPI 6.5.

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
