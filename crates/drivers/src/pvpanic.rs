//! QEMU's pvpanic as a PCI function: a register by which the hypervisor learns that the kernel has
//! failed (QEMU: docs/specs/pvpanic.rst). `hal` writes it; the ISA device it finds by itself.

use crate::pci::Function;
use crate::virtio::Error;
use alloc::string::String;

/// True for the device.
pub(crate) fn is_it(function: &Function) -> bool {
    (function.vendor, function.device) == (0x1b36, 0x0011)
}

/// Gives `hal` the register.
pub(crate) fn attach(function: &Function) -> Result<String, Error> {
    const REGISTER_BYTES: usize = 2;
    function.enable();
    let register = function.map(0, 0, REGISTER_BYTES).ok_or(Error::Unmapped)?;
    hal::power::tell_failure_to(register);
    Ok(String::from("told of kernel panics"))
}

#[cfg(test)]
mod tests {
    use crate::testing::plug_card;
    use base::PhysAddr;
    use hal::mmio::{MmioWindow, Model};
    use hal::pci::Address;
    use std::sync::{Arc, Mutex};
    use std::vec::Vec;

    const AT: u32 = 0xfebd_1010;

    /// What it knows of, and what was written to it.
    struct Register(Vec<u8>);

    impl Model for Register {
        fn read(&mut self, _offset: usize, _bytes: usize) -> u64 {
            3
        }

        fn write(&mut self, offset: usize, bytes: usize, value: u64) {
            assert_eq!((offset, bytes), (AT as usize % 4096, 1));
            self.0.push(value as u8);
        }
    }

    fn plug(bar: u32) {
        hal::sim::reset(1, 1 << 10);
        let mut space = std::vec![0; 256];
        space[0..4].copy_from_slice(&0x0011_1b36_u32.to_le_bytes());
        space[16..20].copy_from_slice(&bar.to_le_bytes());
        plug_card(Address { bus: 0, device: 0, function: 0 }, space);
    }

    #[test]
    fn hal_gets_the_register() {
        plug(AT);
        let model = Arc::new(Mutex::new(Register(Vec::new())));
        let page = MmioWindow::of_model(Arc::clone(&model) as Arc<Mutex<dyn Model>>, 4096);
        hal::sim::place(PhysAddr(u64::from(AT) & !4095), page);
        let mut lines = Vec::new();
        crate::probe("", true, &mut |line| lines.push(std::format!("{line}")));
        assert_eq!(lines, ["pvpanic at pci 00:00.0: told of kernel panics"]);
        let register = hal::sim::failure_register();
        register.into_iter().for_each(|register| register.write_u8(0, 1));
        assert_eq!(model.lock().unwrap().0, [1]);
    }

    #[test]
    fn without_an_address_it_is_not_used() {
        plug(0);
        let mut lines = Vec::new();
        crate::probe("", true, &mut |line| lines.push(std::format!("{line}")));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("not used"), "{lines:?}");
        assert!(hal::sim::failure_register().is_none());
    }
}
