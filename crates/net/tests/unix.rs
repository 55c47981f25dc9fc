//! Unix and netlink sockets.

mod common;

use base::Errno;
use base::io::{Sink, SliceSink, SliceSource, Source};
use net::{
    NetlinkFamily, NetlinkSocket, Right, Shutdown, UnixKind, UnixName, UnixSocket, UnixSpace,
    UnixTarget,
};
use sched::PollEvents;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

fn send(socket: &Arc<UnixSocket>, bytes: &[u8]) -> Result<usize, Errno> {
    socket.send(&mut SliceSource::new(bytes), None, Vec::new())
}

fn receive(socket: &UnixSocket, most: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; most];
    let received = socket.receive(&mut SliceSink::new(&mut bytes), false)?;
    bytes.truncate(received.stored);
    Ok(bytes)
}

fn named(name: &[u8]) -> UnixTarget {
    UnixTarget::Abstract(name.into())
}

#[test]
fn a_stream_carries_bytes_until_its_end() {
    let space = Arc::new(UnixSpace::default());
    let (one, other) = UnixSocket::pair(&space, UnixKind::Stream);
    assert_eq!(receive(&one, 10), Err(Errno::EAGAIN));
    send(&one, b"hello ").unwrap();
    send(&one, b"world").unwrap();
    assert_eq!(other.readable_bytes(), 11);
    assert_eq!(receive(&other, 8).unwrap(), b"hello wo");
    assert_eq!(receive(&other, 8).unwrap(), b"rld");
    one.shutdown(Shutdown::Write);
    assert_eq!(receive(&other, 8).unwrap(), b"");
    assert_eq!(send(&one, b"x"), Err(Errno::EPIPE));
    send(&other, b"back").unwrap();
    drop(other);
    assert_eq!(receive(&one, 8).unwrap(), b"back");
    assert_eq!(receive(&one, 8).unwrap(), b"");
    assert!(one.poll().contains(PollEvents::HUP));
}

/// The last reference to a socket may lie in the queue of its own peer.
#[test]
fn a_socket_in_flight_ends_with_the_queue() {
    let space = Arc::new(UnixSpace::default());
    for kind in [UnixKind::Stream, UnixKind::Packets, UnixKind::Datagram] {
        let (one, other) = UnixSocket::pair(&space, kind);
        let end = Arc::downgrade(&other);
        let right = Right::new(other.clone(), Some(&other));
        other.send(&mut SliceSource::new(b"x"), None, vec![right]).unwrap();
        drop(other);
        assert!(end.upgrade().is_some());
        one.close();
        assert!(end.upgrade().is_none());
    }
}

#[test]
fn a_full_stream_says_so_and_goes_on() {
    let space = Arc::new(UnixSpace::default());
    let (one, other) = UnixSocket::pair(&space, UnixKind::Stream);
    let chunk = vec![7; 50_000];
    let mut sent = 0;
    while let Ok(count) = send(&one, &chunk) {
        sent += count;
    }
    assert!(!one.poll().contains(PollEvents::OUT));
    let mut got = 0;
    while let Ok(bytes) = receive(&other, 60_000) {
        got += bytes.len();
    }
    assert_eq!(got, sent);
    assert!(one.poll().contains(PollEvents::OUT));
}

#[test]
fn closing_with_unread_data_resets() {
    let space = Arc::new(UnixSpace::default());
    let (one, other) = UnixSocket::pair(&space, UnixKind::Stream);
    send(&one, b"never read").unwrap();
    drop(other);
    assert_eq!(receive(&one, 1), Err(Errno::ECONNRESET));
    assert_eq!(receive(&one, 1), Ok(Vec::new()));
}

#[test]
fn listeners_accept_and_names_are_free_again() {
    let space = Arc::new(UnixSpace::default());
    let listener = UnixSocket::new(&space, UnixKind::Stream);
    assert_eq!(listener.listen(1), Err(Errno::EINVAL));
    listener.bind_abstract(Some(b"name".as_slice().into())).unwrap();
    let second = UnixSocket::new(&space, UnixKind::Stream);
    assert_eq!(second.bind_abstract(Some(b"name".as_slice().into())), Err(Errno::EADDRINUSE));
    let client = UnixSocket::new(&space, UnixKind::Stream);
    assert_eq!(client.connect(Some(&named(b"name"))), Err(Errno::ECONNREFUSED));
    listener.listen(0).unwrap();
    assert_eq!(listener.accept().err(), Some(Errno::EAGAIN));
    client.connect(Some(&named(b"name"))).unwrap();
    assert_eq!(client.connect(Some(&named(b"name"))), Err(Errno::EISCONN));
    assert_eq!(second.connect(Some(&named(b"name"))), Err(Errno::EAGAIN));
    assert!(listener.poll().contains(PollEvents::IN));
    let server = listener.accept().unwrap();
    send(&client, b"hi").unwrap();
    assert_eq!(receive(&server, 9).unwrap(), b"hi");
    assert_eq!(client.peer_name(), Ok(UnixName::Abstract(b"name".as_slice().into())));
    drop(listener);
    second.bind_abstract(Some(b"name".as_slice().into())).unwrap();
    let other = UnixSocket::new(&space, UnixKind::Datagram);
    assert_eq!(other.connect(Some(&named(b"name"))), Err(Errno::EPROTOTYPE));
}

#[test]
fn datagrams_keep_their_borders_and_their_sender() {
    let space = Arc::new(UnixSpace::default());
    let server = UnixSocket::new(&space, UnixKind::Datagram);
    server.bind_abstract(Some(b"server".as_slice().into())).unwrap();
    let client = UnixSocket::new(&space, UnixKind::Datagram);
    client.bind_abstract(None).unwrap();
    assert_eq!(send(&client, b"x"), Err(Errno::ENOTCONN));
    for text in [b"one".as_slice(), b"", b"three"] {
        client.send(&mut SliceSource::new(text), Some(&named(b"server")), Vec::new()).unwrap();
    }
    let mut bytes = [0; 2];
    let first = server.receive(&mut SliceSink::new(&mut bytes), false).unwrap();
    assert_eq!((first.stored, first.length), (2, 3));
    assert_eq!(first.from, client.local_name());
    assert_eq!(receive(&server, 9).unwrap(), b"");
    assert_eq!(receive(&server, 9).unwrap(), b"three");
    drop(server);
    let late = client.send(&mut SliceSource::new(b"x"), Some(&named(b"server")), Vec::new());
    assert_eq!(late, Err(Errno::ECONNREFUSED));
}

fn send_along(socket: &Arc<UnixSocket>, right: &Arc<UnixSocket>) {
    let right = Right::new(right.clone(), Some(right));
    assert_eq!(socket.send(&mut SliceSource::new(b"x"), None, vec![right]), Ok(1));
}

/// Sockets that only lie in each other's queues are freed; those that can still be received stay.
#[test]
fn sockets_that_nobody_can_receive_end() {
    let space = Arc::new(UnixSpace::default());
    for kind in [UnixKind::Stream, UnixKind::Packets, UnixKind::Datagram] {
        // In its own queue.
        let (one, other) = UnixSocket::pair(&space, kind);
        send_along(&one, &other);
        // In each other's.
        let (left, right) = UnixSocket::pair(&space, kind);
        send_along(&left, &left);
        send_along(&right, &right);
        // In the queue of one that is held, with one in its own queue.
        let (held, sender) = UnixSocket::pair(&space, kind);
        let (within, end) = UnixSocket::pair(&space, kind);
        send_along(&end, &within);
        send_along(&sender, &within);

        let ends: Vec<_> = [&other, &left, &right].map(Arc::downgrade).into();
        let kept: Vec<_> = [&within, &sender].map(Arc::downgrade).into();
        drop((one, other, left, right, within, sender, end));
        space.collect_unreachable();
        assert!(ends.iter().all(|end| end.upgrade().is_none()), "{kind:?}");
        assert!(kept[0].upgrade().is_some(), "{kind:?}");
        assert!(kept[1].upgrade().is_none(), "{kind:?}");

        // It arrives, with what it has itself; let go of, all end.
        let mut bytes = [0; 9];
        let received = held.receive(&mut SliceSink::new(&mut bytes), false).unwrap();
        let file = received.rights[0].clone().into_file().downcast::<UnixSocket>().unwrap();
        let again = file.receive(&mut SliceSink::new(&mut bytes), true).unwrap();
        assert_eq!(again.rights.len(), 1);
        drop((received, again, file));
        space.collect_unreachable();
        assert!(kept[0].upgrade().is_none(), "{kind:?}");
    }
}

/// A listener that lies in the queue of a connection that nobody accepted from it.
#[test]
fn a_listener_behind_its_own_connection_ends() {
    let space = Arc::new(UnixSpace::default());
    let listener = UnixSocket::new(&space, UnixKind::Stream);
    listener.bind_abstract(Some(b"name".as_slice().into())).unwrap();
    listener.listen(8).unwrap();
    let client = UnixSocket::new(&space, UnixKind::Stream);
    client.connect(Some(&named(b"name"))).unwrap();
    send_along(&client, &listener);
    let end = Arc::downgrade(&listener);
    drop(listener);
    space.collect_unreachable();
    assert!(end.upgrade().is_none());
    assert_eq!(receive(&client, 8), Err(Errno::ECONNRESET));
}

/// Each lies in the queue of the next: when the last one ends, all do, one after the other.
#[test]
fn a_long_chain_of_sockets_in_flight_ends_flat() {
    let space = Arc::new(UnixSpace::default());
    let (mut last, end) = UnixSocket::pair(&space, UnixKind::Stream);
    for _ in 0..100_000 {
        let (next, end) = UnixSocket::pair(&space, UnixKind::Stream);
        send_along(&end, &last);
        last = next;
    }
    assert_eq!(send(&end, b"x"), Ok(1));
    drop(last);
    assert_eq!(send(&end, b"x"), Err(Errno::EPIPE));
}

/// Sockets are sent round while others end: none is taken for one that nobody can receive.
#[test]
fn no_socket_that_is_on_its_way_is_freed() {
    let space = Arc::new(UnixSpace::default());
    let (there, here) = UnixSocket::pair(&space, UnixKind::Datagram);
    let (sent, end) = UnixSocket::pair(&space, UnixKind::Stream);
    send_along(&end, &end);
    std::thread::scope(|scope| {
        let searching = scope.spawn(|| {
            for _ in 0..5_000 {
                let (one, other) = UnixSocket::pair(&space, UnixKind::Stream);
                send_along(&one, &other);
                drop((one, other));
                space.collect_unreachable();
            }
        });
        let mut sent = sent;
        while !searching.is_finished() {
            send_along(&here, &sent);
            drop(sent);
            let mut byte = [0; 1];
            let received = there.receive(&mut SliceSink::new(&mut byte), false).unwrap();
            let right = received.rights.into_iter().next().unwrap();
            sent = right.into_file().downcast().unwrap();
            assert_eq!(sent.readable_bytes(), 1, "what was in its queue is lost");
        }
    });
}

#[test]
fn rights_arrive_with_their_bytes() {
    let space = Arc::new(UnixSpace::default());
    let (one, other) = UnixSocket::pair(&space, UnixKind::Stream);
    send(&one, b"a").unwrap();
    let right = Right::new(Arc::new(42_u32), None);
    one.send(&mut SliceSource::new(b"b"), None, vec![right]).unwrap();
    send(&one, b"c").unwrap();
    assert_eq!(receive(&other, 9).unwrap(), b"a");
    let mut bytes = [0; 9];
    let received = other.receive(&mut SliceSink::new(&mut bytes), false).unwrap();
    assert_eq!(bytes[..received.stored], *b"bc");
    let right = received.rights[0].clone().into_file().downcast::<u32>().unwrap();
    assert_eq!(*right, 42);
}

/// What Go's net.Interfaces sends: 17 bytes, the last one the family.
#[test]
fn netlink_lists_interfaces_and_addresses() {
    let clock = Arc::new(AtomicU64::new(1));
    let stack = common::stack(&clock, 1, 1 << 20);
    let socket = NetlinkSocket::new(&stack, NetlinkFamily::Route, 2, true);
    socket.bind(0, 0).unwrap();
    assert_eq!(socket.local().0, 2);
    let second = NetlinkSocket::new(&stack, NetlinkFamily::Route, 2, true);
    second.bind(0, 0).unwrap();
    assert!(second.local().0.cast_signed() < 0);
    for (request, answer) in [(18_u16, 16_u16), (22, 20)] {
        let mut bytes = 17_u32.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&request.to_ne_bytes());
        bytes.extend_from_slice(&0x301_u16.to_ne_bytes());
        bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(socket.send(&mut SliceSource::new(&bytes)), Ok(17));
        let mut kinds = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok((stored, length)) = socket.receive(&mut SliceSink::new(&mut buffer), false) {
            assert_eq!(stored, length);
            let mut rest = &buffer[..stored];
            while rest.len() >= 16 {
                let size = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
                kinds.push(u16::from_ne_bytes(rest[4..6].try_into().unwrap()));
                assert_eq!(rest[8..12], 1_u32.to_ne_bytes());
                assert_eq!(rest[12..16], 2_u32.to_ne_bytes());
                rest = &rest[size.next_multiple_of(4).min(rest.len())..];
            }
        }
        assert_eq!(kinds.first(), Some(&answer));
        assert_eq!(kinds.last(), Some(&3));
    }
}

/// Memory of which the first byte has to be made, and then each next three.
struct Slow {
    bytes: Vec<u8>,
    at: usize,
    left: usize,
    stopped: bool,
}

impl Slow {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0, left: 0, stopped: false }
    }
}

impl Sink for Slow {
    fn room(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.left = usize::MAX;
        Ok(self.put_present(bytes))
    }

    fn put_present(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.left).min(self.room());
        self.bytes[self.at..self.at + count].copy_from_slice(&bytes[..count]);
        self.at += count;
        self.left -= count;
        self.stopped = count < bytes.len();
        count
    }

    fn resume(&mut self) -> Result<bool, Errno> {
        self.left = 3;
        Ok(core::mem::take(&mut self.stopped) && self.room() > 0)
    }
}

impl Source for Slow {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        self.left = usize::MAX;
        Ok(self.take_present(into))
    }

    fn take_present(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.left).min(self.remaining());
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        self.left -= count;
        self.stopped = count < into.len();
        count
    }

    fn resume(&mut self) -> Result<bool, Errno> {
        self.left = 3;
        Ok(core::mem::take(&mut self.stopped) && self.remaining() > 0)
    }
}

/// An open file goes with the first byte, also when its memory is not there at first.
#[test]
fn a_stream_goes_on_where_memory_was_missing() {
    let space = Arc::new(UnixSpace::default());
    let (one, other) = UnixSocket::pair(&space, UnixKind::Stream);
    let right = Right::new(Arc::new(5_u8), None);
    let mut source = Slow::new(b"hello world".to_vec());
    assert_eq!(one.send(&mut source, None, vec![right]), Ok(11));
    assert_eq!(other.readable_bytes(), 11);
    let mut sink = Slow::new(vec![0; 5]);
    let peeked = other.receive(&mut sink, true).unwrap();
    assert_eq!((peeked.stored, peeked.rights.len()), (5, 1));
    assert_eq!(sink.bytes, b"hello");
    let mut sink = Slow::new(vec![0; 20]);
    let received = other.receive(&mut sink, false).unwrap();
    // With an open file in hand the reader is told of what it has.
    assert_eq!((received.stored, received.rights.len()), (3, 1));
    let mut sink = Slow::new(vec![0; 20]);
    assert_eq!(other.receive(&mut sink, false).unwrap().stored, 8);
    assert_eq!(&sink.bytes[..8], b"lo world");
    assert_eq!(receive(&other, 8), Err(Errno::EAGAIN));
}

#[test]
fn messages_go_whole_into_memory_that_was_missing() {
    let space = Arc::new(UnixSpace::default());
    for kind in [UnixKind::Packets, UnixKind::Datagram] {
        let (one, other) = UnixSocket::pair(&space, kind);
        assert_eq!(one.send(&mut Slow::new(b"hello world".to_vec()), None, Vec::new()), Ok(11));
        for peek in [true, false] {
            let mut sink = Slow::new(vec![0; 20]);
            assert_eq!(other.receive(&mut sink, peek).unwrap().stored, 11);
            assert_eq!(&sink.bytes[..11], b"hello world");
        }
        assert_eq!(receive(&other, 8), Err(Errno::EAGAIN));
    }
}
