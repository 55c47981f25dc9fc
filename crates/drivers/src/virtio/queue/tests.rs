//! The queue by itself: chains, tokens, accounts.

use super::*;
use crate::testing::{Device as Model, EVENT_INDEX, Shared, lock, mmio_window};
use crate::virtio::MmioTransport;
use crate::virtio::transport::Transport;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::vec::Vec;

fn queue(size: u16) -> (Shared, Queue<DmaBuffer>) {
    let device = Model::net(EVENT_INDEX);
    let mut transport = MmioTransport::new(mmio_window(&device), || None).unwrap();
    transport.accept_features(EVENT_INDEX);
    let queue = Queue::new(&mut transport, QueueIndex(0), size, true, None).unwrap();
    (device, queue)
}

fn push(queue: &mut Queue<DmaBuffer>, segments: usize) -> bool {
    let buffer = DmaBuffer::new(64).unwrap();
    let parts: Vec<_> =
        (0..segments).map(|n| Segment::writable(&buffer, n..n + 1).unwrap()).collect();
    queue.push(buffer, &parts).is_ok()
}

#[test]
fn sizes_are_powers_of_two_within_both_limits() {
    for (limit, wanted, size) in [
        (0, 256, 0),
        (1, 256, 1),
        (100, 256, 64),
        (u32::MAX, 256, 256),
        (u32::MAX, u16::MAX, 32_768),
    ] {
        assert_eq!(usable_size(limit, wanted), size);
    }
}

#[test]
fn notifications_by_index_wrap() {
    assert!(passes(0, 0, 1));
    assert!(!passes(1, 0, 1));
    assert!(passes(65_535, 65_535, 0));
    assert!(!passes(65_534, 65_535, 3));
    assert!(passes(2, 65_535, 3));
}

#[test]
fn chains_take_and_return_their_descriptors() {
    let (device, mut queue) = queue(8);
    assert!(!push(&mut queue, 0));
    assert!(push(&mut queue, 3) && push(&mut queue, 5));
    assert!(!push(&mut queue, 1), "full");
    queue.publish();
    let mut heads = Vec::new();
    {
        let mut device = lock(&device);
        let ring = &mut device.queues[0];
        while let Some(chain) = ring.next(true) {
            heads.push((chain.head, chain.writable()));
        }
        assert_eq!(heads.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [3, 5]);
        // Out of order is allowed.
        ring.put_all_used(&[(heads[1].0, 5), (heads[0].0, 1)], true);
    }
    let second = queue.pop().unwrap().unwrap();
    assert_eq!(second.written, 5);
    assert!(queue.release(second.head).is_some());
    assert!(queue.release(second.head).is_none(), "only once");
    assert_eq!(queue.free(), 5);
    let first = queue.pop().unwrap().unwrap();
    assert_eq!(first.written, 1);
    queue.recycle(first.head);
    queue.recycle(first.head);
    assert_eq!((queue.unpublished(), queue.free(), queue.given()), (1, 5, 1));
    assert!(queue.token(first.head).is_none(), "the device has it");
    assert!(queue.pop().unwrap().is_none());
}

#[test]
fn a_segment_lies_inside_its_buffer() {
    let buffer = DmaBuffer::new(64).unwrap();
    assert!(Segment::readable(&buffer, 0..64).is_some());
    assert!(Segment::readable(&buffer, 0..65).is_none());
    #[expect(clippy::reversed_empty_ranges, reason = "the nonsense under test")]
    let reversed = 3..2;
    assert!(Segment::writable(&buffer, reversed).is_none());
}

proptest! {
    #[test]
    fn descriptors_are_never_lost_nor_shared(
        steps in prop::collection::vec((0..6usize, any::<bool>(), any::<bool>()), 0..300),
    ) {
        let (device, mut queue) = queue(16);
        let mut live = BTreeSet::new();
        for (segments, complete, recycle) in steps {
            if segments > 0 {
                let before = queue.free();
                let pushed = push(&mut queue, segments);
                prop_assert_eq!(pushed, segments <= usize::from(before));
            }
            queue.publish();
            let mut device = lock(&device);
            let ring = &mut device.queues[0];
            while let Some(chain) = ring.next(true) {
                prop_assert!(live.insert(chain.head), "a head is given once");
            }
            if complete && let Some(head) = live.pop_last() {
                ring.put_used(head, 1, true);
                let completion = queue.pop().unwrap().unwrap();
                prop_assert_eq!(completion.head, Head(head));
                if recycle {
                    queue.recycle(completion.head);
                } else {
                    prop_assert!(queue.release(completion.head).is_some());
                }
            }
        }
        queue.publish();
        let mut device = lock(&device);
        let ring = &mut device.queues[0];
        while let Some(chain) = ring.next(true) {
            live.insert(chain.head);
        }
        for head in live {
            ring.put_used(head, 0, true);
        }
        while let Some(completion) = queue.pop().unwrap() {
            queue.release(completion.head);
        }
        prop_assert_eq!((queue.free(), queue.given()), (16, 0));
    }
}
