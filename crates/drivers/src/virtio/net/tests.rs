//! The driver against device models.

use super::*;
use crate::testing::{Behaviour, Device as Model, EVENT_INDEX, HEADER, Shared, lock, mmio_window};
use crate::virtio::MmioTransport;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const MEMORY: u64 = 64 << 20;

fn attach_with(device: &Shared, memory: u64) -> Result<VirtioNet, Error> {
    let irq = hal::irq::allocate_line(5);
    lock(device).line = irq;
    let transport = MmioTransport::new(mmio_window(device), || irq)?;
    VirtioNet::with_budget(Box::new(transport), Budget::of(memory))
}

fn attach(device: &Shared) -> VirtioNet {
    attach_with(device, MEMORY).unwrap()
}

fn send(net: &mut VirtioNet, frame: &[u8]) -> bool {
    net.transmit(frame.len(), TransmitMeta::default(), &mut |to| to.copy_from_slice(frame))
}

fn receive(net: &mut VirtioNet) -> Option<Vec<u8>> {
    let mut got = None;
    let any = net.receive(&mut |frame, _| got = Some(frame.to_vec()));
    assert_eq!(any, got.is_some());
    got
}

fn frame(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (seed * 31 + at) as u8).collect()
}

#[test]
fn frames_come_back_over_many_wraps_of_the_indices() {
    for features in [0, EVENT_INDEX] {
        let device = Model::net(features);
        let mut net = attach(&device);
        let mut number = 0;
        while number < 70_000 {
            let burst = number % 40 + 1;
            for n in 0..burst {
                assert!(send(&mut net, &frame(number + n, 60 + n)));
            }
            net.flush();
            for n in 0..burst {
                assert_eq!(receive(&mut net), Some(frame(number + n, 60 + n)));
            }
            assert_eq!(receive(&mut net), None);
            lock(&device).sent.clear();
            number += burst;
        }
    }
}

#[test]
fn one_burst_is_one_notification() {
    let device = Model::net(EVENT_INDEX);
    let mut net = attach(&device);
    let before = lock(&device).kicks;
    for n in 0..10 {
        assert!(send(&mut net, &frame(n, 100)));
    }
    assert_eq!(lock(&device).kicks, before);
    net.flush();
    net.flush();
    assert_eq!(lock(&device).kicks, before + 1);
    assert_eq!(lock(&device).sent.len(), 10);
}

#[test]
fn interrupts_come_only_when_asked_for() {
    for features in [0, EVENT_INDEX] {
        let device = Model::net(features);
        let mut net = attach(&device);
        let raised = || hal::irq::take_pending();
        raised();
        lock(&device).deliver(&frame(1, 64));
        if features == EVENT_INDEX {
            assert_eq!(raised(), 0);
        }
        assert!(net.enable_interrupt(), "a frame is there");
        assert!(receive(&mut net).is_some());
        assert!(receive(&mut net).is_none());
        for round in 0..3 {
            assert!(!net.enable_interrupt());
            raised();
            lock(&device).deliver(&frame(round, 64));
            assert_ne!(raised(), 0, "the line was acknowledged");
            assert!(receive(&mut net).is_some());
            lock(&device).deliver(&frame(round, 64));
            assert_eq!(raised(), 0);
            assert!(receive(&mut net).is_some());
            assert!(receive(&mut net).is_none());
        }
    }
}

#[test]
fn a_full_queue_asks_for_an_interrupt_when_there_is_room() {
    for features in [0, EVENT_INDEX] {
        let device = Model::net(features);
        let mut net = attach(&device);
        lock(&device).paused = true;
        let mut sent = 0;
        while net.can_transmit() {
            assert!(send(&mut net, &frame(sent, 80)));
            sent += 1;
            assert!(sent <= 256);
        }
        assert!(!send(&mut net, &frame(0, 80)));
        assert!(!net.enable_interrupt());
        let before = lock(&device).interrupts;
        {
            let mut device = lock(&device);
            device.paused = false;
            device.behaviour = Behaviour::Echo;
            device.work();
            assert!(device.interrupts > before);
        }
        assert!(net.enable_interrupt());
        assert!(net.can_transmit());
        while receive(&mut net).is_some() {}
        assert!(!net.enable_interrupt(), "room is told once");
        assert!(send(&mut net, &frame(0, 80)));
    }
}

#[test]
fn offloads_reach_the_device() {
    let device = Model::net(EVENT_INDEX | feature::CSUM | feature::HOST_TSO4 | feature::HOST_TSO6);
    let mut net = attach(&device);
    let capabilities = net.capabilities();
    assert!(capabilities.transmit_checksum && capabilities.segmentation_ipv4);
    let meta = TransmitMeta {
        checksum: Some((34, 16)),
        segment_size: Some(1448),
        header_bytes: 66,
        ipv6: true,
    };
    let data = frame(7, 65_549);
    assert!(net.transmit(data.len(), meta, &mut |to| to.copy_from_slice(&data)));
    let meta = TransmitMeta { checksum: Some((34, 6)), ..TransmitMeta::default() };
    assert!(net.transmit(60, meta, &mut |to| to.fill(9)));
    net.flush();
    let device = lock(&device);
    assert_eq!(device.sent[0][..HEADER], [1, 4, 66, 0, 168, 5, 34, 0, 16, 0, 0, 0]);
    assert_eq!(device.sent[0][HEADER..], data);
    assert_eq!(device.sent[1][..HEADER], [1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0]);
}

#[test]
fn a_frame_too_long_is_refused() {
    let device = Model::net(EVENT_INDEX);
    let mut net = attach(&device);
    assert!(!net.transmit(3000, TransmitMeta::default(), &mut |_| panic!("no room")));
    assert!(send(&mut net, &frame(0, 1514)));
}

#[test]
fn merged_frames_come_in_one_piece() {
    let device = Model::net(EVENT_INDEX | feature::MRG_RXBUF | feature::GUEST_TSO4);
    let mut net = attach(&device);
    for (n, bytes) in
        [60, 65_549, 2036, 2037, 4084, 30_000].into_iter().cycle().take(60).enumerate()
    {
        lock(&device).deliver(&frame(n, bytes));
        assert_eq!(receive(&mut net), Some(frame(n, bytes)));
    }
}

#[test]
fn small_machines_spend_little() {
    let small = Budget::of(12 << 20);
    assert_eq!((small.receive_buffers, small.large_buffers, small.merge), (32, 2, false));
    let large = Budget::of(1 << 30);
    assert_eq!((large.receive_buffers, large.large_buffers, large.merge), (256, 16, true));
}

#[test]
fn checksums_count_only_when_agreed_on() {
    for (features, expected) in [(0, false), (feature::GUEST_CSUM, true)] {
        let device = Model::net(features);
        let mut net = attach(&device);
        lock(&device).deliver(&frame(0, 60));
        assert!(net.receive(&mut |_, meta| assert_eq!(meta.checksum_verified, expected)));
    }
}

#[test]
fn configuration_is_read_with_care() {
    let device = Model::net(feature::MAC | feature::MTU);
    lock(&device).configuration[10..12].copy_from_slice(&9000u16.to_le_bytes());
    let mut net = attach(&device);
    assert_eq!(net.mac(), [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    assert_eq!(net.capabilities().mtu, 9000);
    lock(&device).deliver(&frame(0, 9014));
    assert_eq!(receive(&mut net), Some(frame(0, 9014)));
    // A multicast address and a ridiculous MTU.
    let device = Model::net(feature::MAC | feature::MTU);
    lock(&device).configuration.fill(1);
    lock(&device).configuration[10..12].copy_from_slice(&10u16.to_le_bytes());
    let net = attach(&device);
    assert_eq!(net.mac()[0] & 3, 2);
    assert_eq!(net.capabilities().mtu, 1500);
}

#[test]
fn devices_that_do_not_follow_are_marked_failed() {
    let with = |change: fn(&mut Model)| {
        let device = Model::net(EVENT_INDEX);
        change(&mut lock(&device));
        let error = attach_with(&device, MEMORY).err();
        (error, lock(&device).status & 128 != 0)
    };
    assert_eq!(with(|d| d.version = 1), (Some(Error::Legacy), false));
    assert_eq!(with(|d| d.version = 7), (Some(Error::NotVirtio), false));
    assert_eq!(with(|d| d.kind = 0), (Some(Error::Absent), false));
    assert_eq!(with(|d| d.features = 0), (Some(Error::NoVersion1), true));
    assert_eq!(with(|d| d.refuse_features = true), (Some(Error::FeaturesRefused), true));
    assert_eq!(with(|d| d.never_resets = true), (Some(Error::NoReset), true));
    assert_eq!(with(|d| d.queue_limit = 0), (Some(Error::NoQueue(RECEIVE_QUEUE)), true));
    assert_eq!(with(|d| d.queues.truncate(1)), (Some(Error::NoQueue(TRANSMIT_QUEUE)), true));
}

#[test]
fn odd_queue_sizes_work() {
    for limit in [1, 2, 3, 7, 100, 1024, 65_536, u32::MAX] {
        let device = Model::net(EVENT_INDEX);
        lock(&device).queue_limit = limit;
        let mut net = attach(&device);
        for n in 0..20 {
            assert!(send(&mut net, &frame(n, 60)), "limit {limit}");
            net.flush();
            assert_eq!(receive(&mut net), Some(frame(n, 60)), "limit {limit}");
        }
    }
}

#[test]
fn a_lie_stops_the_device_with_one_line() {
    // id, length, used index
    for (id, length, index) in
        [(9999u32, 60u32, 1u16), (u32::MAX, 60, 1), (0, 4096, 1), (0, 60, 4000)]
    {
        hal::sim::reset(1, 1 << 14);
        let device = Model::net(EVENT_INDEX);
        let mut net = attach(&device);
        {
            let device = lock(&device);
            device.queues[0].scribble(4, &id.to_le_bytes());
            device.queues[0].scribble(8, &length.to_le_bytes());
            device.queues[0].scribble(2, &index.to_le_bytes());
        }
        assert_eq!(receive(&mut net), None);
        assert_eq!(lock(&device).status, 0, "reset");
        let said = hal::sim::take_console();
        assert_eq!(said.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(receive(&mut net), None);
        assert!(!net.can_transmit() && !send(&mut net, &[0; 60]) && !net.enable_interrupt());
        net.flush();
        assert!(hal::sim::take_console().is_empty());
    }
}

#[test]
fn short_frames_are_dropped() {
    let device = Model::net(EVENT_INDEX);
    let mut net = attach(&device);
    for n in 0..600 {
        lock(&device).deliver(&frame(n, n % 14));
        assert_eq!(receive(&mut net), None);
    }
    lock(&device).deliver(&frame(5, 14));
    assert_eq!(receive(&mut net), Some(frame(5, 14)));
}

/// What a hostile device and a driver do, in turns.
#[derive(Clone, Debug)]
enum Step {
    Scribble { queue: usize, offset: u64, bytes: Vec<u8> },
    Advance { queue: usize, by: u16 },
    Deliver(usize),
    Work,
    Receive,
    Send(usize),
    Flush,
    Enable,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop::collection::vec(any::<u8>(), 1..24);
    // Small numbers are often right, and go deeper than wild ones.
    let small = prop::collection::vec(0u8..4, 1..24);
    prop_oneof![
        (0..2usize, 0..600u64, prop_oneof![bytes, small])
            .prop_map(|(queue, offset, bytes)| Step::Scribble { queue, offset, bytes }),
        (0..2usize, 0..5u16).prop_map(|(queue, by)| Step::Advance { queue, by }),
        (0..5000usize).prop_map(Step::Deliver),
        Just(Step::Work),
        Just(Step::Receive),
        (0..5000usize).prop_map(Step::Send),
        Just(Step::Flush),
        Just(Step::Enable),
    ]
}

fn perform(step: Step, device: &Shared, net: &mut VirtioNet) {
    match step {
        Step::Scribble { queue, offset, bytes } => {
            lock(device).queues[queue].scribble(offset, &bytes)
        }
        Step::Advance { queue, by } => {
            let mut device = lock(device);
            let queue = &mut device.queues[queue];
            queue.given = queue.given.wrapping_add(by);
            let given = queue.given;
            queue.scribble(2, &given.to_le_bytes());
        }
        Step::Deliver(bytes) => lock(device).deliver(&vec![1; bytes]),
        Step::Work => lock(device).work(),
        Step::Receive => {
            net.receive(&mut |frame, _| assert!(frame.len() >= ETHERNET_HEADER_BYTES));
        }
        Step::Send(bytes) => {
            net.transmit(bytes, TransmitMeta::default(), &mut |to| to.fill(1));
        }
        Step::Flush => net.flush(),
        Step::Enable => {
            net.enable_interrupt();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_device_makes_the_driver_panic(
        features in any::<u64>(),
        limit in prop_oneof![0..300u32, any::<u32>()],
        configuration in prop::collection::vec(any::<u8>(), 0..20),
        memory in 0..(1u64 << 31),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let device = Model::net(features);
        lock(&device).queue_limit = limit;
        lock(&device).configuration = configuration;
        if let Ok(mut net) = attach_with(&device, memory) {
            for step in steps {
                perform(step, &device, &mut net);
            }
        }
    }
}
