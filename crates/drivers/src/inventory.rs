//! The PCI functions of this machine as rows to print, for people who wonder why a device is not used.

use crate::{pci, probe};
use core::fmt::Arguments;

/// What functions are for (PCI Code and ID Assignment 1.11, chapter 1): class and subclass, and its
/// name. The subclass 0xff stands for the rest of its class.
const CLASSES: &[(u16, &str)] = &[
    (0x0100, "SCSI controller"),
    (0x0101, "IDE controller"),
    (0x0106, "SATA controller"),
    (0x0108, "NVMe controller"),
    (0x01ff, "storage controller"),
    (0x0200, "Ethernet controller"),
    (0x02ff, "network controller"),
    (0x0300, "VGA controller"),
    (0x03ff, "display controller"),
    (0x04ff, "multimedia device"),
    (0x05ff, "memory controller"),
    (0x0600, "host bridge"),
    (0x0601, "ISA bridge"),
    (0x0604, "PCI bridge"),
    (0x06ff, "bridge"),
    (0x07ff, "communication controller"),
    (0x0800, "interrupt controller"),
    (0x08ff, "system device"),
    (0x09ff, "input device"),
    (0x0c03, "USB controller"),
    (0x0c05, "SMBus controller"),
    (0x0cff, "serial bus controller"),
    (0x0dff, "wireless controller"),
];

/// The name of a class, as in [`pci::Function::class`].
fn class_name(class: u32) -> &'static str {
    let class = (class >> 8) as u16;
    let row = CLASSES.iter().find(|(row, _)| *row == class || *row == class | 0xff);
    row.map_or("device", |row| row.1)
}

/// Calls `each` with name and text of a row for each function: where it is, whose it is (vendor and
/// device number), what it is for, and which driver takes it.
pub fn rows(each: &mut dyn FnMut(&str, Arguments<'_>)) {
    let functions = pci::functions();
    for function in &functions {
        let (at, class) = (function.address, function.class);
        let driver = match (probe::driver_of(function), class >> 16) {
            (Some(driver), _) => driver,
            // Firmware has set them up.
            (None, 0x06) => "needs none",
            (None, _) => "no driver",
        };
        each(
            "pci",
            format_args!(
                "{:02x}:{:02x}.{} {:04x}:{:04x} class {class:06x} {}: {driver}",
                at.bus,
                at.device,
                at.function,
                function.vendor,
                function.device,
                class_name(class),
            ),
        );
    }
    if functions.is_empty() {
        each("pci", format_args!("none"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Device as Model, EVENT_INDEX, PciFace, plug_card};
    use hal::pci::Address;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn shown() -> Vec<String> {
        let mut lines = Vec::new();
        rows(&mut |name, text| lines.push(std::format!("{name} {text}").to_string()));
        lines
    }

    /// Configuration space of a function without anything.
    fn plain(vendor: u16, device: u16, class: u32) -> Vec<u8> {
        let mut space = std::vec![0; 256];
        space[0..2].copy_from_slice(&vendor.to_le_bytes());
        space[2..4].copy_from_slice(&device.to_le_bytes());
        space[8..12].copy_from_slice(&(class << 8).to_le_bytes());
        space
    }

    #[test]
    fn every_function_has_a_row_with_its_driver() {
        hal::sim::reset(1, 1 << 14);
        assert_eq!(shown(), ["pci none"]);
        let at = |bus, device| Address { bus, device, function: 0 };
        plug_card(at(0, 0), plain(0x8086, 0x29c0, 0x06_0000));
        PciFace::transitional(1).plug(at(0, 3), &Model::net(EVENT_INDEX));
        plug_card(at(0, 4), plain(0x8086, 0x100e, 0x02_0000));
        plug_card(at(0, 5), plain(0x1234, 0x1111, 0x03_0000));
        let mut bridge = plain(0x1b36, 0x000c, 0x06_0400);
        bridge[0x19] = 1;
        plug_card(at(0, 6), bridge);
        plug_card(at(1, 0), plain(0x8086, 0x2668, 0x04_0300));
        plug_card(at(0, 7), plain(0x1, 0x2, 0xff_0000));
        assert_eq!(
            shown(),
            [
                "pci 00:00.0 8086:29c0 class 060000 host bridge: needs none",
                "pci 00:03.0 1af4:1000 class 020000 Ethernet controller: virtio-net",
                "pci 00:04.0 8086:100e class 020000 Ethernet controller: e1000 (82540EM)",
                "pci 00:05.0 1234:1111 class 030000 VGA controller: bochs-display",
                "pci 00:06.0 1b36:000c class 060400 PCI bridge: needs none",
                "pci 00:07.0 0001:0002 class ff0000 device: no driver",
                "pci 01:00.0 8086:2668 class 040300 multimedia device: no driver",
            ]
        );
    }
}
