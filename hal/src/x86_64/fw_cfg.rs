//! The ports of QEMU's configuration device.

use super::instructions::Port;
use crate::fw_cfg::{self, Device};

struct Ports {
    selector: Port,
    data: Port,
}

impl Device for Ports {
    fn select(&mut self, item: u16) {
        self.selector.write16(item);
    }

    fn read(&mut self, into: &mut [u8]) {
        self.data.read_all(into);
    }
}

fn ports() -> Ports {
    // SAFETY: without DMA, which is not asked for, the device only answers.
    unsafe { Ports { selector: Port::at(0x510), data: Port::at(0x511) } }
}

/// `-smp` of QEMU. `None`: this is no QEMU.
pub(super) fn processors() -> Option<u16> {
    fw_cfg::processors(&mut ports())
}

/// The beginning of a file (`-fw_cfg name=NAME,…`), as much as there is room for. `None`: there is none.
pub(super) fn read_file<'a>(name: &str, into: &'a mut [u8]) -> Option<&'a [u8]> {
    fw_cfg::read_file(&mut ports(), name, into)
}
