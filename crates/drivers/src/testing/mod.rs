//! Device models for the tests: the device's side of the standard, written apart from the
//! driver's.

mod gpu;
mod pci_face;
mod ring;

pub(crate) use gpu::{Gpu, Manner};
pub(crate) use pci_face::{PciFace, plug_card};
pub(crate) use ring::DeviceQueue;

use base::PhysAddr;
use hal::irq::Irq;
use hal::mmio::{MmioWindow, Model};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec;
use std::vec::Vec;

pub(crate) const VERSION_1: u64 = 1 << 32;
pub(crate) const EVENT_INDEX: u64 = 1 << 29;
pub(crate) const HEADER: usize = 12;

/// What the device does with what it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behaviour {
    /// Network: what is sent comes back.
    Echo,
    /// Entropy: 0, 1, 2, …
    Count,
    /// Display: what is asked for, see [`Gpu`].
    Obey,
    /// Nothing, ever.
    Dead,
}

/// A virtio device.
pub(crate) struct Device {
    pub(crate) kind: u32,
    pub(crate) version: u32,
    pub(crate) features: u64,
    pub(crate) accepted: u64,
    pub(crate) refuse_features: bool,
    pub(crate) never_resets: bool,
    pub(crate) queue_limit: u32,
    pub(crate) status: u8,
    pub(crate) configuration: Vec<u8>,
    pub(crate) queues: Vec<DeviceQueue>,
    pub(crate) behaviour: Behaviour,
    /// Do not look at the transmit queue for now.
    pub(crate) paused: bool,
    /// The display's side of a display device.
    pub(crate) gpu: Gpu,
    /// Frames on the wire towards the driver.
    pub(crate) wire: VecDeque<Vec<u8>>,
    /// Everything that was sent, with its header.
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) kicks: usize,
    pub(crate) interrupts: usize,
    pub(crate) line: Option<Irq>,
    interrupt_status: u32,
    device_page: u32,
    driver_page: u32,
    selected: usize,
}

pub(crate) type Shared = Arc<Mutex<Device>>;

pub(crate) fn lock(device: &Shared) -> MutexGuard<'_, Device> {
    device.lock().unwrap()
}

impl Device {
    pub(crate) fn new(kind: u32, features: u64, behaviour: Behaviour) -> Self {
        let mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
        let mut configuration = vec![0; 64];
        configuration[..6].copy_from_slice(&mac);
        configuration[6] = 1;
        Self {
            kind,
            version: 2,
            features: features | VERSION_1,
            accepted: 0,
            refuse_features: false,
            never_resets: false,
            queue_limit: 256,
            status: 0,
            configuration,
            queues: (0..2).map(|_| DeviceQueue::default()).collect(),
            behaviour,
            paused: false,
            gpu: Gpu::default(),
            wire: VecDeque::new(),
            sent: Vec::new(),
            kicks: 0,
            interrupts: 0,
            line: None,
            interrupt_status: 0,
            device_page: 0,
            driver_page: 0,
            selected: 0,
        }
    }

    pub(crate) fn net(features: u64) -> Shared {
        Arc::new(Mutex::new(Self::new(1, features, Behaviour::Echo)))
    }

    pub(crate) fn rng(behaviour: Behaviour) -> Shared {
        Arc::new(Mutex::new(Self::new(4, EVENT_INDEX, behaviour)))
    }

    pub(crate) fn display(manner: Manner) -> Shared {
        let mut device = Self::new(16, EVENT_INDEX, Behaviour::Obey);
        device.configuration = vec![0; 16];
        device.gpu.manner = manner;
        Arc::new(Mutex::new(device))
    }

    fn event_index(&self) -> bool {
        self.accepted & EVENT_INDEX != 0
    }

    fn reset(&mut self) {
        self.queues.iter_mut().for_each(|queue| *queue = DeviceQueue::default());
        self.interrupt_status = 0;
        self.accepted = 0;
    }

    fn set_status(&mut self, status: u8) {
        if status == 0 {
            self.reset();
            self.status = if self.never_resets { 1 } else { 0 };
            return;
        }
        self.status = status;
        if self.refuse_features {
            self.status &= !8;
        }
    }

    fn kick(&mut self, queue: usize) {
        self.kicks += 1;
        let _ = queue;
        self.work();
    }

    /// Does everything there is to do.
    pub(crate) fn work(&mut self) {
        if self.status & 4 == 0 {
            return;
        }
        match self.behaviour {
            Behaviour::Echo => {
                if !self.paused {
                    self.take_sent();
                }
                self.fill_received();
            }
            Behaviour::Count => self.count(),
            Behaviour::Obey => self.obey(),
            Behaviour::Dead => {}
        }
    }

    fn take_sent(&mut self) {
        let event = self.event_index();
        let mut raise = false;
        let Some(queue) = self.queues.get_mut(1) else { return };
        while let Some(chain) = queue.next(event) {
            let frame = chain.read();
            raise |= queue.put_used(chain.head, 0, event);
            self.wire.push_back(frame[HEADER..].to_vec());
            self.sent.push(frame);
        }
        if raise {
            self.raise();
        }
    }

    /// Puts frames from the wire into receive buffers, as many as each needs, all or none.
    fn fill_received(&mut self) {
        let event = self.event_index();
        let mut raise = false;
        while let Some(frame) = self.wire.pop_front() {
            let Some(queue) = self.queues.get_mut(0) else { return };
            let mut bytes = vec![0; HEADER];
            // DATA_VALID
            bytes[0] = 2;
            bytes.extend_from_slice(&frame);
            let mut chains = Vec::new();
            let mut room = 0;
            while room < bytes.len() {
                let Some(chain) = queue.next(event) else { break };
                room += chain.writable();
                chains.push(chain);
            }
            if room < bytes.len() {
                queue.put_back(chains.len());
                self.wire.push_front(frame);
                break;
            }
            bytes[10..12].copy_from_slice(&(chains.len() as u16).to_le_bytes());
            let mut rest = &bytes[..];
            let mut used = Vec::new();
            for chain in chains {
                let count = rest.len().min(chain.writable());
                chain.write(&rest[..count]);
                rest = &rest[count..];
                used.push((chain.head, count as u32));
            }
            raise |= queue.put_all_used(&used, event);
        }
        if raise {
            self.raise();
        }
    }

    fn count(&mut self) {
        let event = self.event_index();
        let Some(queue) = self.queues.get_mut(0) else { return };
        while let Some(chain) = queue.next(event) {
            let bytes: Vec<u8> = (0..chain.writable()).map(|n| n as u8).collect();
            chain.write(&bytes);
            queue.put_used(chain.head, bytes.len() as u32, event);
        }
    }

    fn obey(&mut self) {
        let event = self.event_index();
        let Some(queue) = self.queues.get_mut(0).filter(|_| !self.paused) else { return };
        while let Some(chain) = queue.next(event) {
            let answer = self.gpu.answer(&chain.request());
            let (answer, written) = self.gpu.bent(answer);
            let answer = &answer[..answer.len().min(chain.writable())];
            chain.write(answer);
            queue.put_used(chain.head, written.unwrap_or(answer.len() as u32), event);
        }
    }

    /// A frame comes in from outside.
    pub(crate) fn deliver(&mut self, frame: &[u8]) {
        self.wire.push_back(frame.to_vec());
        self.work();
    }

    /// The first display has another size now.
    pub(crate) fn resize_display(&mut self, width: u32, height: u32) {
        self.gpu.displays[0] = (width, height, 1);
        self.configuration[..4].copy_from_slice(&1_u32.to_le_bytes());
        self.raise();
    }

    /// Raises the line, which the processor sees only when it was low.
    fn raise(&mut self) {
        let was_low = self.interrupt_status == 0;
        self.interrupt_status |= 1;
        self.interrupts += 1;
        if was_low && let Some(irq) = self.line {
            hal::sim::raise(irq);
        }
    }

    fn selected(&mut self) -> Option<&mut DeviceQueue> {
        self.queues.get_mut(self.selected)
    }
}

/// A device behind virtio-mmio registers.
pub(crate) struct MmioFace(pub(crate) Shared);

pub(crate) fn mmio_window(device: &Shared) -> MmioWindow {
    MmioWindow::of_model(Arc::new(Mutex::new(MmioFace(Arc::clone(device)))), 0x200)
}

fn set_half(target: &mut PhysAddr, high: bool, value: u32) {
    let (keep, shift) = if high { (0xffff_ffff, 32) } else { (!0xffff_ffff, 0) };
    target.0 = target.0 & keep | u64::from(value) << shift;
}

impl Model for MmioFace {
    fn read(&mut self, offset: usize, bytes: usize) -> u64 {
        let mut device = lock(&self.0);
        match offset {
            0x100.. => {
                let mut value = 0;
                for at in (0..bytes).rev() {
                    let byte = device.configuration.get(offset - 0x100 + at).copied();
                    value = value << 8 | u64::from(byte.unwrap_or(0));
                }
                value
            }
            0x000 => 0x7472_6976,
            0x004 => device.version.into(),
            0x008 => device.kind.into(),
            0x010 => device.features.checked_shr(device.device_page * 32).unwrap_or(0),
            0x034 if device.selected().is_some() => device.queue_limit.into(),
            0x044 => device.selected().is_some_and(|queue| queue.ready).into(),
            0x060 => device.interrupt_status.into(),
            0x070 => device.status.into(),
            _ => 0,
        }
    }

    fn write(&mut self, offset: usize, bytes: usize, value: u64) {
        let mut device = lock(&self.0);
        if let Some(at) = offset.checked_sub(0x100) {
            let value = value.to_le_bytes();
            device.configuration[at..at + bytes].copy_from_slice(&value[..bytes]);
            if device.behaviour == Behaviour::Obey && at == 4 {
                // What a display's driver knows does not stand there any more.
                device.configuration[0] &= !value[0];
            }
            return;
        }
        assert_eq!(bytes, 4, "registers are words (§4.2.2.2)");
        let word = value as u32;
        match offset {
            0x014 => device.device_page = word,
            0x020 => {
                let shift = device.driver_page * 32;
                device.accepted |= u64::from(word) << shift;
            }
            0x024 => device.driver_page = word,
            0x030 => device.selected = word as usize,
            0x050 => device.kick(word as usize),
            0x064 => device.interrupt_status &= !word,
            0x070 => device.set_status(word as u8),
            _ => {
                let Some(queue) = device.selected() else { return };
                match offset {
                    0x038 => queue.size = word as u16,
                    0x044 => queue.ready = word == 1,
                    0x080 | 0x084 => set_half(&mut queue.descriptors, offset == 0x084, word),
                    0x090 | 0x094 => set_half(&mut queue.available, offset == 0x094, word),
                    0x0a0 | 0x0a4 => set_half(&mut queue.used, offset == 0x0a4, word),
                    _ => panic!("store to register {offset:#x}"),
                }
            }
        }
    }
}

/// Several virtio-mmio devices side by side in one page.
pub(crate) struct Page(Vec<MmioFace>);

impl Page {
    pub(crate) fn of(devices: &[&Shared]) -> MmioWindow {
        let faces = devices.iter().map(|device| MmioFace(Arc::clone(device))).collect();
        MmioWindow::of_model(Arc::new(Mutex::new(Self(faces))), 0x1000)
    }
}

impl Model for Page {
    fn read(&mut self, offset: usize, bytes: usize) -> u64 {
        self.0.get_mut(offset / 0x200).map_or(0, |face| face.read(offset % 0x200, bytes))
    }

    fn write(&mut self, offset: usize, bytes: usize, value: u64) {
        if let Some(face) = self.0.get_mut(offset / 0x200) {
            face.write(offset % 0x200, bytes, value);
        }
    }
}
