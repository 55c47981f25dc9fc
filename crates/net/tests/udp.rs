//! UDP and ICMP between two stacks, compared with what Linux does.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

mod common;

use base::Errno;
use base::io::{SliceSink, SliceSource};
use common::{Faults, World, v4, v6};
use net::{Family, LinkId, RawSocket, Received, SendOptions, Stack, UdpOptions, UdpSocket};
use sched::PollEvents;
use std::net::SocketAddr;
use std::sync::Arc;

fn bound(stack: &Arc<Stack>, address: &str) -> Arc<UdpSocket> {
    let address: SocketAddr = address.parse().unwrap();
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    let socket = UdpSocket::new(stack, family);
    socket.bind(address).unwrap();
    socket
}

fn send(socket: &UdpSocket, bytes: &[u8], to: Option<SocketAddr>) -> Result<usize, Errno> {
    socket.send(&mut SliceSource::new(bytes), to, &SendOptions::default())
}

fn receive(socket: &UdpSocket, most: usize) -> Result<(Vec<u8>, Received), Errno> {
    let mut bytes = vec![0; most];
    let received = socket.receive(&mut SliceSink::new(&mut bytes), false)?.unwrap();
    bytes.truncate(received.stored);
    Ok((bytes, received))
}

#[test]
fn datagrams_of_every_length_arrive_also_in_pieces() {
    let world = World::new(1);
    let server = bound(&world.stacks[1], "[::]:53");
    let client = UdpSocket::new(&world.stacks[0], Family::V6);
    for to in [v6(1, 53), "[::ffff:10.0.0.2]:53".parse().unwrap()] {
        for length in [0, 1, 1400, 1472, 1473, 9000, 65_000] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            assert_eq!(send(&client, &bytes, Some(to)), Ok(length));
            world.run(3_000);
            let (got, received) = receive(&server, 70_000).unwrap();
            assert!(got == bytes, "{length} bytes to {to}");
            assert_eq!(received.from.port(), client.local_address().port());
        }
    }
    let most = vec![0; 65_508];
    assert_eq!(
        send(&bound(&world.stacks[0], "0.0.0.0:0"), &most, Some(v4(1, 53))),
        Err(Errno::EMSGSIZE)
    );
}

/// `UDP_SEGMENT`: one call, many datagrams of one length and a shorter last one.
#[test]
fn a_long_message_is_cut_into_datagrams() {
    let world = World::new(21);
    let server = bound(&world.stacks[1], "[::]:53");
    let client = UdpSocket::new(&world.stacks[0], Family::V6);
    let bytes: Vec<u8> = (0..5000_u32).map(|at| (at * 7) as u8).collect();
    let cut = |bytes: &[u8], to, segment| {
        let options = SendOptions { segment_bytes: Some(segment), ..SendOptions::default() };
        client.send(&mut SliceSource::new(bytes), Some(to), &options)
    };
    for to in [v6(1, 53), "[::ffff:10.0.0.2]:53".parse().unwrap()] {
        for segment in [1400, 1000] {
            assert_eq!(cut(&bytes, to, segment), Ok(5000));
            world.run(3_000);
            for part in bytes.chunks(usize::from(segment)) {
                assert!(receive(&server, 2000).unwrap().0 == part);
            }
            assert_eq!(receive(&server, 4).err(), Some(Errno::EAGAIN));
        }
        // Longer than a frame, and too many.
        assert_eq!(cut(&bytes, to, 1473), Err(Errno::EINVAL));
        assert_eq!(cut(&bytes, to, 39), Err(Errno::EINVAL));
        // What fits one datagram is not cut, whatever its length.
        assert_eq!(cut(&bytes, to, 5000), Ok(5000));
        world.run(3_000);
        assert_eq!(receive(&server, 9000).unwrap().0.len(), 5000);
    }
    client.set_options(|options| options.segment_bytes = 1000);
    assert_eq!(send(&client, &bytes, Some(v6(1, 53))), Ok(5000));
    world.run(3_000);
    assert_eq!(receive(&server, 9000).unwrap().0.len(), 1000);
}

/// `MSG_MORE` and `UDP_CORK`: many calls, one datagram, to where the first of them said.
#[test]
fn a_datagram_is_sent_in_pieces() {
    let world = World::new(22);
    let server = bound(&world.stacks[1], "[::]:53");
    let client = UdpSocket::new(&world.stacks[0], Family::V6);
    let more = SendOptions { more: true, ..SendOptions::default() };
    let piece = |bytes: &[u8], to| client.send(&mut SliceSource::new(bytes), to, &more);
    assert_eq!(piece(b"x", None), Err(Errno::EDESTADDRREQ));
    for to in [v6(1, 53), "[::ffff:10.0.0.2]:53".parse().unwrap()] {
        assert_eq!((piece(b"abc", Some(to)), piece(b"", None)), (Ok(3), Ok(0)));
        world.run(3_000);
        assert_eq!(receive(&server, 9).err(), Some(Errno::EAGAIN));
        assert_eq!(send(&client, b"de", Some(v6(1, 54))), Ok(2));
        world.run(3_000);
        assert_eq!(receive(&server, 9).unwrap().0, b"abcde");

        client.cork(true);
        assert_eq!((send(&client, b"f", Some(to)), send(&client, b"g", None)), (Ok(1), Ok(1)));
        world.run(3_000);
        assert_eq!(receive(&server, 9).err(), Some(Errno::EAGAIN));
        client.cork(false);
        client.cork(false);
        world.run(3_000);
        assert_eq!(receive(&server, 9).unwrap().0, b"fg");

        // Too long together: all of it is gone.
        assert_eq!(piece(&[0; 60_000], Some(to)), Ok(60_000));
        assert_eq!(send(&client, &[0; 6000], None), Err(Errno::EMSGSIZE));
        assert_eq!(send(&client, b"h", Some(to)), Ok(1));
        world.run(3_000);
        assert_eq!(receive(&server, 9).unwrap().0, b"h");
        assert_eq!(receive(&server, 9).err(), Some(Errno::EAGAIN));
    }
}

#[test]
fn a_short_buffer_cuts_the_datagram_and_peek_leaves_it() {
    let world = World::new(2);
    let server = bound(&world.stacks[1], "0.0.0.0:53");
    let client = bound(&world.stacks[0], "0.0.0.0:0");
    send(&client, b"abcdef", Some(v4(1, 53))).unwrap();
    world.run(3_000);
    assert!(server.poll().contains(PollEvents::IN));
    assert_eq!(server.readable_bytes(), 6);
    let mut bytes = [0; 3];
    let peeked = server.receive(&mut SliceSink::new(&mut bytes), true).unwrap().unwrap();
    assert_eq!((peeked.stored, peeked.length), (3, 6));
    let (got, received) = receive(&server, 4).unwrap();
    assert_eq!((got.as_slice(), received.length), (b"abcd".as_slice(), 6));
    assert_eq!(received.to, v4(1, 0).ip());
    assert_eq!(receive(&server, 4).err(), Some(Errno::EAGAIN));
}

#[test]
fn a_closed_port_refuses_connected_sockets_only() {
    let world = World::new(3);
    let client = UdpSocket::new(&world.stacks[0], Family::V4);
    assert_eq!(send(&client, b"x", None), Err(Errno::EDESTADDRREQ));
    send(&client, b"x", Some(v4(1, 53))).unwrap();
    world.run(3_000);
    assert_eq!(receive(&client, 1).err(), Some(Errno::EAGAIN));
    client.connect(Some(v4(1, 53))).unwrap();
    assert_eq!(client.local_address().ip(), v4(0, 0).ip());
    send(&client, b"x", None).unwrap();
    world.run(3_000);
    assert!(client.poll().contains(PollEvents::ERR));
    assert_eq!(receive(&client, 1).err(), Some(Errno::ECONNREFUSED));
    assert_eq!(receive(&client, 1).err(), Some(Errno::EAGAIN));
    // The same on the loopback, at once.
    client.connect(Some("127.0.0.1:9".parse().unwrap())).unwrap();
    send(&client, b"x", None).unwrap();
    assert_eq!(send(&client, b"x", None), Err(Errno::ECONNREFUSED));
}

#[test]
fn connected_sockets_hear_their_peer_only() {
    let world = World::new(4);
    let server = bound(&world.stacks[1], "0.0.0.0:53");
    let own = UdpSocket::new(&world.stacks[1], Family::V4);
    own.set_options(|options| options.reuse_address = true);
    server.set_options(|options| options.reuse_address = true);
    let (one, other) =
        (bound(&world.stacks[0], "0.0.0.0:1000"), bound(&world.stacks[0], "0.0.0.0:1001"));
    server.connect(Some(v4(0, 1000))).unwrap();
    for client in [&one, &other] {
        send(client, b"x", Some(v4(1, 53))).unwrap();
    }
    world.run(3_000);
    assert_eq!(receive(&server, 1).unwrap().1.from, v4(0, 1000));
    assert_eq!(receive(&server, 1).err(), Some(Errno::EAGAIN));
}

/// `SO_BINDTODEVICE`: what comes by another interface is not heard, and what is on another not reached.
#[test]
fn a_socket_uses_its_interface_alone() {
    let world = World::new(11);
    let wire = world.stacks[1].interfaces()[1].link;
    let server = bound(&world.stacks[1], "0.0.0.0:53");
    let (near, far) = (bound(&world.stacks[1], "0.0.0.0:0"), bound(&world.stacks[0], "0.0.0.0:0"));
    let use_only = |socket: &UdpSocket, link| socket.set_options(|options| options.device = link);
    let say = || {
        for client in [&near, &far] {
            let _ = send(client, b"x", Some(v4(1, 53)));
        }
        world.run(100);
        let mut links = vec![];
        while let Ok((_, received)) = receive(&server, 1) {
            links.push(received.link);
        }
        links.sort();
        links
    };
    assert_eq!(say(), [LinkId::LOOPBACK, wire]);
    use_only(&server, Some(wire));
    assert_eq!(say(), [wire]);
    use_only(&server, Some(LinkId::LOOPBACK));
    assert_eq!(say(), [LinkId::LOOPBACK]);
    use_only(&server, None);
    use_only(&far, Some(LinkId::LOOPBACK));
    assert_eq!(send(&far, b"x", Some(v4(1, 53))), Err(Errno::ENETUNREACH));
    assert_eq!(far.connect(Some(v4(1, 53))), Err(Errno::ENETUNREACH));
    assert_eq!(say(), [LinkId::LOOPBACK]);
    use_only(&far, Some(wire));
    assert_eq!(say(), [LinkId::LOOPBACK, wire]);
}

/// What is sent to a group comes back by the interface that it left by, to its members there and to who is bound
/// without having joined.
#[test]
fn a_group_has_members_in_the_senders_machine() {
    let world = World::new(9);
    let stack = &world.stacks[0];
    let shared = |options: &mut UdpOptions| options.reuse_address = true;
    let open = || {
        let socket = UdpSocket::new(stack, Family::V4);
        socket.set_options(shared);
        socket.bind("0.0.0.0:5353".parse().unwrap()).unwrap();
        socket
    };
    let (member, other, only_own) = (open(), open(), open());
    only_own.set_options(|options| options.multicast_all = false);
    let sender = bound(stack, "0.0.0.0:0");
    let group: SocketAddr = "224.0.0.251:5353".parse().unwrap();
    let comes = |to: &UdpSocket| receive(to, 10).map(|got| (got.0, got.1.link)).ok();
    let say = |what: &[u8]| {
        send(&sender, what, Some(group)).unwrap();
        world.run(100);
    };
    say(b"1");
    assert!(comes(&member).is_none(), "nobody has joined");
    member.group(group.ip(), None, true).unwrap();
    say(b"2");
    let (bytes, link) = comes(&member).unwrap();
    assert_eq!(bytes, b"2");
    assert_ne!(link, LinkId::LOOPBACK);
    assert_eq!(comes(&other), Some((b"2".to_vec(), link)));
    assert!(comes(&only_own).is_none());
    only_own.group(group.ip(), None, true).unwrap();
    // More than one packet holds.
    say(&[7; 5000]);
    assert_eq!(receive(&member, 9000).unwrap().0, [7; 5000]);
    assert_eq!(receive(&only_own, 9000).unwrap().0, [7; 5000]);
    // Another interface has members of its own.
    sender.set_options(|options| options.multicast_link = Some(LinkId::LOOPBACK));
    while comes(&other).is_some() {}
    say(b"4");
    assert!(comes(&member).is_none());
    member.group(group.ip(), Some(LinkId::LOOPBACK), true).unwrap();
    say(b"5");
    assert_eq!(comes(&member), Some((b"5".to_vec(), LinkId::LOOPBACK)));
    assert!(comes(&only_own).is_none());
    sender.set_options(|options| options.multicast_link = None);
    sender.set_options(|options| options.multicast_loop = false);
    say(b"6");
    assert!(comes(&member).is_none());
}

#[test]
fn broadcast_needs_leave_and_multicast_membership() {
    let world = World::new(5);
    let server = bound(&world.stacks[1], "0.0.0.0:53");
    let client = bound(&world.stacks[0], "0.0.0.0:0");
    let everybody: SocketAddr = "10.0.0.255:53".parse().unwrap();
    assert_eq!(send(&client, b"x", Some(everybody)), Err(Errno::EACCES));
    client.set_options(|options| options.broadcast = true);
    send(&client, b"x", Some(everybody)).unwrap();
    world.run(100);
    assert_eq!(receive(&server, 1).unwrap().1.to, everybody.ip());
    let group = "224.0.0.251:53".parse().unwrap();
    send(&client, b"y", Some(group)).unwrap();
    world.run(100);
    assert_eq!(receive(&server, 1).err(), Some(Errno::EAGAIN));
    server.group(group.ip(), None, true).unwrap();
    assert_eq!(server.group(group.ip(), None, true), Err(Errno::EADDRINUSE));
    send(&client, b"z", Some(group)).unwrap();
    world.run(100);
    assert_eq!(receive(&server, 1).unwrap().0, b"z");
    server.group(group.ip(), None, false).unwrap();
    assert_eq!(server.group(group.ip(), None, false), Err(Errno::EADDRNOTAVAIL));
}

#[test]
fn ports_are_shared_by_the_rules() {
    let world = World::new(6);
    let stack = &world.stacks[1];
    let _first = bound(stack, "0.0.0.0:53");
    let second = UdpSocket::new(stack, Family::V4);
    assert_eq!(second.bind("0.0.0.0:53".parse().unwrap()), Err(Errno::EADDRINUSE));
    assert_eq!(second.bind("10.0.0.2:53".parse().unwrap()), Err(Errno::EADDRINUSE));
    let six = UdpSocket::new(stack, Family::V6);
    assert_eq!(six.bind("[::]:53".parse().unwrap()), Err(Errno::EADDRINUSE));
    six.set_options(|options| options.v6_only = true);
    six.bind("[::]:53".parse().unwrap()).unwrap();
    assert_eq!(second.bind("10.0.0.9:54".parse().unwrap()), Err(Errno::EADDRNOTAVAIL));
    second.bind("0.0.0.0:0".parse().unwrap()).unwrap();
    assert!(second.local_address().port() >= 32_768);
}

#[test]
fn a_full_queue_drops_and_goes_on() {
    let world = World::with(7, Faults::NONE, false, 1 << 20);
    let server = bound(&world.stacks[1], "0.0.0.0:53");
    let client = bound(&world.stacks[0], "0.0.0.0:0");
    for _ in 0..2000 {
        send(&client, &[0; 500], Some(v4(1, 53))).unwrap();
    }
    world.run(3_000);
    let mut got = 0;
    while receive(&server, 500).is_ok() {
        got += 1;
    }
    assert!(got > 50 && got < 1000, "{got}");
    send(&client, b"x", Some(v4(1, 53))).unwrap();
    world.run(100);
    assert!(receive(&server, 500).is_ok());
}

#[test]
fn echo_is_answered_and_reaches_its_socket_only() {
    let world = World::new(8);
    for (family, protocol, echo, reply, to) in
        [(Family::V4, 1, 8, 0, v4(1, 0)), (Family::V6, 58, 128, 129, v6(1, 0))]
    {
        let ping = RawSocket::new(&world.stacks[0], family, protocol, true);
        let other = RawSocket::new(&world.stacks[0], family, protocol, true);
        let raw = RawSocket::new(&world.stacks[0], family, protocol, false);
        let mut message = vec![echo, 0, 0, 0, 0, 0, 0, 7];
        message.extend((0..3000).map(|at| at as u8));
        let options = SendOptions::default();
        ping.send(&mut SliceSource::new(&message), Some(to), &options).unwrap();
        world.run(3_000);
        let mut bytes = vec![0; 4000];
        let received = ping.receive(&mut SliceSink::new(&mut bytes), false).unwrap();
        assert_eq!((received.length, received.from.ip()), (3008, to.ip()));
        assert_eq!((bytes[0], bytes[7]), (reply, 7));
        assert_eq!(bytes[8..3008], message[8..]);
        let nothing = other.receive(&mut SliceSink::new(&mut bytes), false);
        assert_eq!(nothing.err(), Some(Errno::EAGAIN));
        let raw = raw.receive(&mut SliceSink::new(&mut bytes), false).unwrap();
        assert_eq!(raw.length, if family == Family::V4 { 3028 } else { 3008 });
    }
}
