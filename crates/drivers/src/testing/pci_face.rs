//! A virtio device behind a PCI function: configuration space, one BAR with all registers, one
//! with the MSI-X table.

use super::{Shared, lock, set_half};
use base::PhysAddr;
use hal::mmio::{MmioWindow, Model};
use hal::pci::Address;
use std::sync::{Arc, Mutex};
use std::vec;
use std::vec::Vec;

const REGISTERS: u64 = 0x1_c000_0000;
const TABLE: u64 = 0xfebd_0000;

/// What makes up the function.
pub(crate) struct PciFace {
    pub(crate) vendor: u16,
    pub(crate) device: u16,
    pub(crate) subsystem: u16,
    pub(crate) messages: bool,
}

struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Model for Bytes {
    fn read(&mut self, offset: usize, bytes: usize) -> u64 {
        let all = self.0.lock().unwrap();
        (0..bytes)
            .rev()
            .fold(0, |value, at| value << 8 | u64::from(all.get(offset + at).copied().unwrap_or(0)))
    }

    fn write(&mut self, offset: usize, bytes: usize, value: u64) {
        let mut all = self.0.lock().unwrap();
        for (at, byte) in value.to_le_bytes().into_iter().take(bytes).enumerate() {
            if let Some(slot) = all.get_mut(offset + at) {
                *slot = byte;
            }
        }
    }
}

/// Configuration space: the status register keeps its ones when zeros are written.
struct Space(Bytes);

impl Model for Space {
    fn read(&mut self, offset: usize, bytes: usize) -> u64 {
        self.0.read(offset, bytes)
    }

    fn write(&mut self, offset: usize, bytes: usize, value: u64) {
        let bytes = if offset == 4 { bytes.min(2) } else { bytes };
        self.0.write(offset, bytes, value);
    }
}

/// Plugs in a function with this configuration space; returns it.
pub(crate) fn plug_card(address: Address, space: Vec<u8>) -> Arc<Mutex<Vec<u8>>> {
    let bytes = space.len();
    let space = Arc::new(Mutex::new(space));
    let model = Arc::new(Mutex::new(Space(Bytes(Arc::clone(&space)))));
    hal::sim::plug(address, MmioWindow::of_model(model, bytes));
    space
}

impl PciFace {
    /// A device as QEMU makes it on the machine `pc`.
    pub(crate) fn transitional(subsystem: u16) -> Self {
        Self { vendor: 0x1af4, device: 0x1000, subsystem, messages: true }
    }

    /// Plugs the device in at `address`; returns its configuration space and its MSI-X table.
    pub(crate) fn plug(&self, address: Address, device: &Shared) -> [Arc<Mutex<Vec<u8>>>; 2] {
        let mut space = vec![0u8; 256];
        let mut put = |at: usize, bytes: &[u8]| space[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x00, &self.vendor.to_le_bytes());
        put(0x02, &self.device.to_le_bytes());
        put(0x06, &0x10u16.to_le_bytes());
        put(0x0a, &0x0200u16.to_le_bytes());
        put(0x14, &(TABLE as u32).to_le_bytes());
        put(0x20, &(REGISTERS as u32 | 0xc).to_le_bytes());
        put(0x24, &((REGISTERS >> 32) as u32).to_le_bytes());
        put(0x2e, &self.subsystem.to_le_bytes());
        put(0x34, &[0x40]);
        // common, notify (with its multiplier), device; then MSI-X of 3 entries in BAR 1.
        put(0x40, &[9, 0x50, 16, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0]);
        put(0x50, &[9, 0x64, 20, 2, 4, 0, 0, 0, 0, 0x30, 0, 0, 0, 0x10, 0, 0, 4, 0, 0, 0]);
        let next = if self.messages { 0x74 } else { 0 };
        put(0x64, &[9, next, 16, 4, 4, 0, 0, 0, 0, 0x20, 0, 0, 0, 0x10, 0, 0]);
        put(0x74, &[0x11, 0, 2, 0, 1, 8, 0, 0, 1, 12, 0, 0]);
        let space = Arc::new(Mutex::new(space));
        let table = Arc::new(Mutex::new(vec![0; 4096]));
        let window = |model: Arc<Mutex<dyn Model>>, bytes| MmioWindow::of_model(model, bytes);
        let configuration = window(Arc::new(Mutex::new(Space(Bytes(Arc::clone(&space))))), 256);
        hal::sim::plug(address, configuration);
        let entries = window(Arc::new(Mutex::new(Bytes(Arc::clone(&table)))), 4096);
        hal::sim::place(PhysAddr(TABLE), entries);
        let registers = window(Arc::new(Mutex::new(Registers::of(device))), 0x4000);
        hal::sim::place(PhysAddr(REGISTERS), registers);
        [space, table]
    }
}

struct Registers {
    device: Shared,
    vectors: [u16; 2],
}

impl Registers {
    fn of(device: &Shared) -> Self {
        Self { device: Arc::clone(device), vectors: [0xffff; 2] }
    }
}

impl Model for Registers {
    fn read(&mut self, offset: usize, bytes: usize) -> u64 {
        let mut device = lock(&self.device);
        let selected = device.selected;
        match offset {
            4 => device.features.checked_shr(device.device_page * 32).unwrap_or(0),
            18 => device.queues.len() as u64,
            20 => device.status.into(),
            24 => device.queue_limit.into(),
            26 => self.vectors.get(selected).copied().unwrap_or(0xffff).into(),
            28 => device.selected().is_some_and(|queue| queue.ready).into(),
            30 => selected as u64,
            0x2000..0x3000 => (0..bytes).rev().fold(0, |value, at| {
                let byte = device.configuration.get(offset - 0x2000 + at).copied();
                value << 8 | u64::from(byte.unwrap_or(0))
            }),
            _ => 0,
        }
    }

    fn write(&mut self, offset: usize, _bytes: usize, value: u64) {
        let mut device = lock(&self.device);
        let selected = device.selected;
        let word = value as u32;
        match offset {
            0 => device.device_page = word,
            8 => device.driver_page = word,
            12 => {
                let shift = device.driver_page * 32;
                device.accepted |= u64::from(word) << shift;
            }
            20 => device.set_status(word as u8),
            22 => device.selected = word as usize,
            26 => {
                if let Some(vector) = self.vectors.get_mut(selected) {
                    *vector = word as u16;
                }
            }
            0x3000..0x4000 => {
                assert_eq!((offset - 0x3000) / 4, word as usize);
                device.kick(word as usize);
            }
            _ => {
                let Some(queue) = device.selected() else { return };
                match offset {
                    24 => queue.size = word as u16,
                    28 => queue.ready = word == 1,
                    32 | 36 => set_half(&mut queue.descriptors, offset == 36, word),
                    40 | 44 => set_half(&mut queue.available, offset == 44, word),
                    48 | 52 => set_half(&mut queue.used, offset == 52, word),
                    _ => {}
                }
            }
        }
    }
}
