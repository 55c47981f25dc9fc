//! The driver against a model of the card.

use super::*;
use crate::testing::plug_card;
use base::link::{ReceiveMeta, TransmitMeta};
use hal::mmio::Model;
use hal::pci::Address;
use hal::sim::{dma_read, dma_write};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec;
use std::vec::Vec;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const REGISTERS: u32 = 0xfeb8_0000;

/// The card: what is sent comes back.
struct Card {
    registers: Vec<u32>,
    irq: Option<Irq>,
    /// Does not look at what is sent for now.
    paused: bool,
    never_resets: bool,
    sent: usize,
    wire: VecDeque<Vec<u8>>,
    /// Ored to the status of received frames.
    status: u32,
}

type Shared = Arc<Mutex<Card>>;

impl Card {
    fn new() -> Shared {
        let mut card = Self {
            registers: vec![0; register::BYTES / 4],
            irq: None,
            paused: false,
            never_resets: false,
            sent: 0,
            wire: VecDeque::new(),
            status: 0,
        };
        card.reset();
        Arc::new(Mutex::new(card))
    }

    fn reset(&mut self) {
        self.registers.fill(0);
        *self.at(register::ADDRESS_LOW) = u32::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3]]);
        *self.at(register::ADDRESS_HIGH) = u32::from_le_bytes([MAC[4], MAC[5], 0, 0]);
        *self.at(register::STATUS) = STATUS_LINK_UP;
    }

    fn at(&mut self, register: usize) -> &mut u32 {
        &mut self.registers[register / 4]
    }

    /// A ring's address, entries, head and tail.
    fn ring(&mut self, ring: usize) -> (u64, u32, u32, u32) {
        let high = u64::from(*self.at(ring + register::RING_HIGH));
        (
            high << 32 | u64::from(*self.at(ring + register::RING_LOW)),
            *self.at(ring + register::RING_BYTES) / 16,
            *self.at(ring + register::RING_HEAD),
            *self.at(ring + register::RING_TAIL),
        )
    }

    fn raise(&mut self, causes: u32) {
        *self.at(register::CAUSES) |= causes;
        if self.registers[register::CAUSES / 4] & self.registers[register::MASK_SET / 4] != 0
            && let Some(irq) = self.irq
        {
            hal::sim::raise(irq);
        }
    }

    fn work(&mut self) {
        self.send();
        self.deliver();
    }

    fn send(&mut self) {
        let (base, entries, mut head, tail) = self.ring(register::TRANSMIT_RING);
        if self.paused || *self.at(register::TRANSMIT_CONTROL) & 2 == 0 {
            return;
        }
        let before = head;
        while head != tail {
            let mut descriptor = [0; 16];
            let at = PhysAddr(base + 16 * u64::from(head));
            assert!(dma_read(at, &mut descriptor));
            let address = u64::from_le_bytes(descriptor[..8].try_into().unwrap());
            assert_eq!(descriptor[11], 0x0b, "end, checksum, status");
            let mut frame =
                vec![0; usize::from(u16::from_le_bytes([descriptor[8], descriptor[9]]))];
            assert!(dma_read(PhysAddr(address), &mut frame));
            self.wire.push_back(frame);
            self.sent += 1;
            assert!(dma_write(PhysAddr(at.0 + 12), &[1]));
            head = (head + 1) % entries;
        }
        *self.at(register::TRANSMIT_RING + register::RING_HEAD) = head;
        if head != before {
            self.raise(cause::SENT);
        }
    }

    fn deliver(&mut self) {
        let (base, entries, mut head, tail) = self.ring(register::RECEIVE_RING);
        let before = head;
        while head != tail && !self.wire.is_empty() {
            let mut descriptor = [0; 16];
            let at = PhysAddr(base + 16 * u64::from(head));
            assert!(dma_read(at, &mut descriptor));
            assert_eq!(descriptor[12] & 1, 0, "given to the card before it was read");
            let address = u64::from_le_bytes(descriptor[..8].try_into().unwrap());
            // What is longer than a buffer goes into the next.
            let front = self.wire.front_mut().unwrap();
            let rest = front.split_off(front.len().min(2048));
            let frame = core::mem::replace(front, rest);
            let end = if front.is_empty() { 2 } else { 0 };
            if front.is_empty() {
                self.wire.pop_front();
            }
            assert!(dma_write(PhysAddr(address), &frame));
            let mut done = [0; 8];
            done[..2].copy_from_slice(&(frame.len() as u16).to_le_bytes());
            done[4..].copy_from_slice(&(1 | end | self.status).to_le_bytes());
            assert!(dma_write(PhysAddr(at.0 + 8), &done));
            head = (head + 1) % entries;
        }
        *self.at(register::RECEIVE_RING + register::RING_HEAD) = head;
        if head != before {
            self.raise(cause::RECEIVED);
        }
    }
}

struct Face(Shared);

impl Model for Face {
    fn read(&mut self, offset: usize, bytes: usize) -> u64 {
        assert_eq!(bytes, 4);
        let mut card = self.0.lock().unwrap();
        let value = *card.at(offset);
        if offset == register::CAUSES {
            *card.at(offset) = 0;
        }
        u64::from(value)
    }

    fn write(&mut self, offset: usize, bytes: usize, value: u64) {
        assert_eq!(bytes, 4);
        let mut card = self.0.lock().unwrap();
        let value = value as u32;
        match offset {
            register::CONTROL if value & CONTROL_RESET != 0 && !card.never_resets => card.reset(),
            register::CAUSES_SET => card.raise(value),
            register::MASK_SET => {
                *card.at(offset) |= value;
                card.raise(0);
            }
            register::MASK_CLEAR => *card.at(register::MASK_SET) &= !value,
            _ => *card.at(offset) = value,
        }
        card.work();
    }
}

fn lock(card: &Shared) -> MutexGuard<'_, Card> {
    card.lock().unwrap()
}

/// Plugs the card in; returns its configuration space too.
fn plug(card: &Shared, line: u8) -> (Function, Arc<Mutex<Vec<u8>>>) {
    let mut space = vec![0; 256];
    space[..4].copy_from_slice(&[0x86, 0x80, 0x0e, 0x10]);
    space[0x10..0x14].copy_from_slice(&REGISTERS.to_le_bytes());
    space[0x3c..0x3e].copy_from_slice(&[line, 1]);
    let address = Address { bus: 0, device: 2, function: 0 };
    let space = plug_card(address, space);
    let model = Arc::new(Mutex::new(Face(Arc::clone(card))));
    hal::sim::place(PhysAddr(REGISTERS.into()), MmioWindow::of_model(model, register::BYTES));
    (Function { address, vendor: VENDOR, device: 0x100e, class: 0x02_0000 }, space)
}

/// A card that is up, on a line that works.
fn attach(card: &Shared) -> E1000 {
    hal::sim::reset(1, 1 << 14);
    // The simulation numbers its sources in order: the driver's comes next.
    lock(card).irq = hal::irq::allocate_shared_line(9).map(|Irq(last)| Irq(last + 1));
    let (function, _) = plug(card, 10);
    let net = E1000::new(function).unwrap();
    assert!(net.irq().is_some());
    net
}

fn send(net: &mut E1000, frame: &[u8]) -> bool {
    net.transmit(frame.len(), TransmitMeta::default(), &mut |to| to.copy_from_slice(frame))
}

fn receive(net: &mut E1000) -> Option<(Vec<u8>, ReceiveMeta)> {
    let mut got = None;
    let any = net.receive(&mut |frame, meta| got = Some((frame.to_vec(), meta)));
    assert_eq!(any, got.is_some());
    got
}

fn frame(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (seed * 31 + at) as u8).collect()
}

#[test]
fn frames_come_back_over_many_rounds_of_the_rings() {
    let card = Card::new();
    let mut net = attach(&card);
    assert_eq!(net.mac(), MAC);
    let mut number = 0;
    while number < 5000 {
        let burst = number % 40 + 1;
        for n in 0..burst {
            assert!(send(&mut net, &frame(number + n, 60 + n)));
        }
        assert_eq!(receive(&mut net), None, "the card is told by flush");
        net.flush();
        for n in 0..burst {
            let got = receive(&mut net).map(|(frame, _)| frame);
            assert_eq!(got, Some(frame(number + n, 60 + n)));
        }
        assert_eq!(receive(&mut net), None);
        number += burst;
    }
}

#[test]
fn an_interrupt_comes_for_frames_and_for_room() {
    let card = Card::new();
    let mut net = attach(&card);
    let bit = 1 << net.irq().unwrap().0;
    let _ = hal::irq::take_pending();
    assert!(!net.enable_interrupt());
    lock(&card).wire.push_back(frame(1, 60));
    lock(&card).deliver();
    assert_eq!(hal::irq::take_pending() & bit, bit);
    assert!(net.enable_interrupt(), "the frame is there");
    assert!(receive(&mut net).is_some());
    assert!(!net.enable_interrupt());

    lock(&card).paused = true;
    let mut queued = 0;
    while send(&mut net, &frame(queued, 60)) {
        queued += 1;
    }
    assert!((32..1000).contains(&queued));
    assert!(!net.can_transmit() && hal::irq::take_pending() & bit == 0);
    lock(&card).paused = false;
    lock(&card).work();
    assert_eq!(hal::irq::take_pending() & bit, bit, "there is room");
    assert!(net.enable_interrupt() && net.can_transmit());
    assert!((0..queued).all(|_| receive(&mut net).is_some()));
    assert!(!net.enable_interrupt());
    // What is sent from now on raises nothing by itself.
    assert_eq!(lock(&card).registers[register::MASK_SET / 4] & cause::SENT, 0);
}

#[test]
fn a_line_that_leads_nowhere_is_not_waited_for() {
    hal::sim::reset(1, 1 << 14);
    let card = Card::new();
    let (function, _) = plug(&card, 11);
    assert_eq!(E1000::new(function).unwrap().irq(), None);
    // Firmware wrote no line down.
    hal::sim::reset(1, 1 << 14);
    let (function, space) = plug(&card, 10);
    space.lock().unwrap()[0x3d] = 0;
    assert_eq!(E1000::new(function).unwrap().irq(), None);
}

#[test]
fn messages_are_taken_where_there_are_any() {
    hal::sim::reset(1, 1 << 14);
    let card = Card::new();
    let (function, space) = plug(&card, 10);
    {
        let mut space = space.lock().unwrap();
        space[6] = 0x10;
        space[0x34] = 0xd0;
        // One of 64 bits, of the four that it could send.
        space[0xd0..0xd4].copy_from_slice(&[5, 0, 0x84, 0]);
    }
    lock(&card).irq = hal::irq::allocate_message().map(|(Irq(last), _)| Irq(last + 1));
    assert!(E1000::new(function).unwrap().irq().is_some());
    let space = space.lock().unwrap();
    assert_eq!(space[0xd2], 0x85, "on, and one only");
    assert_eq!(space[0xd4..0xdc], 0xfee0_0000_u64.to_le_bytes());
    assert_ne!(space[5] & 4, 0, "and no line");
}

#[test]
fn frames_with_errors_are_dropped_and_others_vouched_for() {
    const CHECKED: u32 = 0x20;
    let card = Card::new();
    let mut net = attach(&card);
    for (bytes, status, comes) in [
        (60, 0, Some(false)),
        (60, CHECKED, Some(true)),
        (60, CHECKED | 4, Some(false)),
        (60, CHECKED | 0x2000, Some(false)),
        (60, 0x0100, None),
        (13, 0, None),
        (1519, 0, None),
        (5000, 0, None),
    ] {
        lock(&card).status = status;
        lock(&card).wire.push_back(frame(3, bytes));
        lock(&card).deliver();
        let got = receive(&mut net).map(|(_, meta)| meta.checksum_verified);
        assert_eq!(got, comes, "{bytes} bytes, {status:#x}");
        lock(&card).work();
    }
    assert!(!send(&mut net, &frame(0, 1519)), "no frame is that long");
}

#[test]
fn a_card_that_does_not_reset_is_left_alone() {
    hal::sim::reset(1, 1 << 14);
    let card = Card::new();
    lock(&card).never_resets = true;
    let (function, _) = plug(&card, 10);
    assert_eq!(E1000::new(function).err(), Some(Error::NoReset));
    let nowhere = Function { address: Address { bus: 1, device: 0, function: 0 }, ..function };
    assert_eq!(E1000::new(nowhere).err(), Some(Error::Unmapped));
}

#[test]
fn a_stopped_card_is_reset() {
    let card = Card::new();
    let net = attach(&card);
    assert_ne!(*lock(&card).at(register::RECEIVE_CONTROL), 0);
    drop(net);
    assert_eq!(*lock(&card).at(register::RECEIVE_CONTROL), 0);
}
