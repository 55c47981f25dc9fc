//! Telling the hypervisor that the kernel has failed (QEMU: docs/specs/pvpanic.rst).

use super::fw_cfg;
use super::instructions::Port;
use super::mmio::MmioWindow;
use base::sync::Once;

/// The event: the guest has failed. The device reads as those it knows.
const FAILED: u8 = 1;

static DEVICE: Once<MmioWindow> = Once::new();

/// The PCI device's register: what [`super::power`] is to tell a failure to.
pub(super) fn set_device(register: MmioWindow) {
    DEVICE.call_once(|| register);
}

/// Tells it. QEMU ends the machine here, unless told otherwise: the last words are out before.
pub(super) fn tell() {
    if let Some(register) = DEVICE.get()
        && register.read_u8(0) & FAILED != 0
    {
        register.write_u8(0, FAILED);
    }
    let mut port = [0; 2];
    if let Some(&[low, high]) = fw_cfg::read_file("etc/pvpanic-port", &mut port) {
        // SAFETY: the host says that this is the device's, which only tells the host.
        let port = unsafe { Port::at(u16::from_le_bytes([low, high])) };
        if port.read8() & FAILED != 0 {
            port.write8(FAILED);
        }
    }
}
