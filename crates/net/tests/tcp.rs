//! TCP between two stacks, compared with what Linux does.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where it fails")]

mod common;

use base::Errno;
use common::{Faults, Rng, World, listen, receive, send, v4, v6};
use net::{Family, Shutdown, TcpSocket, TcpState};
use sched::PollEvents;
use std::sync::Arc;
use std::time::Duration;

/// Moves `total` bytes each way and checks every one. Panics with the seed in the message.
fn exchange(world: &World, one: &TcpSocket, other: &TcpSocket, total: usize, seed: u64) {
    let pattern = |side: usize, at: usize| (at.wrapping_mul(31) ^ (at >> 8) ^ (side * 77)) as u8;
    let sockets = [one, other];
    let mut sent = [0; 2];
    let mut got = [0; 2];
    let mut rng = Rng(seed);
    let mut ended = [false; 2];
    let finished = world.run_until(3_600_000, || {
        for side in 0..2 {
            while sent[side] < total {
                let count = (1 + rng.below(20_000) as usize).min(total - sent[side]);
                let bytes: Vec<u8> =
                    (sent[side]..sent[side] + count).map(|at| pattern(side, at)).collect();
                match send(sockets[side], &bytes) {
                    Ok(count) => sent[side] += count,
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => panic!("seed {seed}: send: {errno}"),
                }
                if sent[side] == total {
                    sockets[side].shutdown(Shutdown::Write).unwrap();
                }
            }
            while !ended[side] {
                match receive(sockets[side], 1 + rng.below(30_000) as usize) {
                    Ok(bytes) if bytes.is_empty() => ended[side] = true,
                    Ok(bytes) => {
                        for byte in &bytes {
                            assert_eq!(*byte, pattern(1 - side, got[side]), "seed {seed}");
                            got[side] += 1;
                        }
                    }
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => panic!("seed {seed}: receive: {errno}"),
                }
            }
        }
        ended == [true; 2]
    });
    assert!(finished, "seed {seed}: sent {sent:?}, got {got:?} of {total}");
    assert_eq!(got, [total; 2], "seed {seed}");
}

#[test]
fn a_megabyte_each_way_over_a_good_wire() {
    for offload in [false, true] {
        let world = World::with(1, Faults::NONE, offload, 64 << 20);
        let (_listener, client, server) = world.connected();
        let before = world.now();
        exchange(&world, &client, &server, 1 << 20, 1);
        let took = world.now() - before;
        assert!(took < Duration::from_millis(200), "{took:?}");
    }
}

#[test]
fn data_arrives_over_a_bad_wire_whatever_the_seed() {
    let seeds = std::env::var("EGGOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let range = seeds.map_or(0..1000, |seed: u64| seed..seed + 1);
    for seed in range {
        let offload = seed % 2 == 1;
        let world = World::with(seed, Faults::SOME, offload, 64 << 20);
        let (listener, client, server) = world.connected();
        exchange(&world, &client, &server, 20_000, seed);
        drop((listener, client, server));
        world.run(200_000);
        for stack in &world.stacks {
            let tcp = stack.counters().tcp;
            let left = stack.tcp_sockets();
            assert_eq!(
                (tcp.sockets, tcp.time_wait, tcp.orphans),
                (0, 0, 0),
                "seed {seed}: {left:?}"
            );
            assert_eq!(tcp.buffer_bytes, 0, "seed {seed}");
        }
    }
}

#[test]
fn ipv6_and_dual_stack() {
    let world = World::new(2);
    let listener = listen(&world.stacks[1], "[::]:80", 16);
    let six = TcpSocket::new(&world.stacks[0], Family::V6);
    let four = TcpSocket::new(&world.stacks[0], Family::V4);
    let mapped = TcpSocket::new(&world.stacks[0], Family::V6);
    assert_eq!(six.connect(v6(1, 80)), Err(Errno::EINPROGRESS));
    assert_eq!(four.connect(v4(1, 80)), Err(Errno::EINPROGRESS));
    assert_eq!(mapped.connect("[::ffff:10.0.0.2]:80".parse().unwrap()), Err(Errno::EINPROGRESS));
    world.run(5_000);
    let mut peers: Vec<String> = Vec::new();
    while let Ok(server) = listener.accept() {
        let ip = server.peer_address().unwrap().ip().to_string();
        assert!(server.local_address().is_ipv6());
        peers.push(ip);
    }
    peers.sort();
    assert_eq!(peers, ["2001:db8::1", "::ffff:10.0.0.1", "::ffff:10.0.0.1"]);
    assert_eq!(mapped.peer_address().unwrap().to_string(), "[::ffff:10.0.0.2]:80");
    let only = TcpSocket::new(&world.stacks[1], Family::V6);
    only.set_options(|options| options.v6_only = true);
    only.bind("[::]:81".parse().unwrap()).unwrap();
    only.listen(1).unwrap();
    let refused = TcpSocket::new(&world.stacks[0], Family::V4);
    assert_eq!(refused.connect(v4(1, 81)), Err(Errno::EINPROGRESS));
    world.run(1_000);
    assert_eq!(refused.take_error(), Some(Errno::ECONNREFUSED));
}

#[test]
fn loopback_works_without_any_device() {
    let clock = Arc::new(std::sync::atomic::AtomicU64::new(1));
    let stack = common::stack(&clock, 1, 64 << 20);
    let listener = listen(&stack, "127.0.0.1:80", 16);
    let client = TcpSocket::new(&stack, Family::V4);
    assert_eq!(client.connect("127.0.0.1:80".parse().unwrap()), Err(Errno::EINPROGRESS));
    let server = listener.accept().unwrap();
    assert_eq!(server.peer_address().unwrap(), client.local_address());
    let bytes = vec![7; 100_000];
    let mut moved = 0;
    let mut sent = 0;
    for _ in 0..1000 {
        if let Ok(count) = send(&client, &bytes[sent..]) {
            sent += count;
        }
        if let Ok(got) = receive(&server, 100_000) {
            moved += got.len();
        }
        if moved == bytes.len() {
            break;
        }
    }
    assert_eq!(moved, bytes.len());
}

#[test]
fn connecting_where_nobody_listens_is_refused() {
    let world = World::new(3);
    let client = TcpSocket::new(&world.stacks[0], Family::V4);
    assert_eq!(client.connect(v4(1, 81)), Err(Errno::EINPROGRESS));
    assert_eq!(client.connect(v4(1, 81)), Err(Errno::EALREADY));
    assert_eq!(client.peer_address(), Err(Errno::ENOTCONN));
    assert_eq!(client.poll(), PollEvents::empty());
    world.run(1_000);
    let events = client.poll();
    assert!(events.contains(PollEvents::ERR | PollEvents::HUP | PollEvents::OUT | PollEvents::IN));
    assert_eq!(client.take_error(), Some(Errno::ECONNREFUSED));
    assert_eq!(client.take_error(), None);
    assert_eq!(send(&client, b"x"), Err(Errno::EPIPE));
}

#[test]
fn unreachable_hosts_and_networks() {
    let world = World::new(4);
    let nowhere = TcpSocket::new(&world.stacks[0], Family::V4);
    assert_eq!(nowhere.connect("192.0.2.1:80".parse().unwrap()), Err(Errno::ENETUNREACH));
    let silent = TcpSocket::new(&world.stacks[0], Family::V4);
    assert_eq!(silent.connect("10.0.0.99:80".parse().unwrap()), Err(Errno::EINPROGRESS));
    world.run(10_000);
    assert_eq!(silent.take_error(), Some(Errno::EHOSTUNREACH));
    // A peer that is there but answers no SYN: its queue is full.
    let _listener = listen(&world.stacks[1], "0.0.0.0:80", 0);
    let first = TcpSocket::new(&world.stacks[0], Family::V4);
    assert_eq!(first.connect(v4(1, 80)), Err(Errno::EINPROGRESS));
    world.run(100);
    let late = TcpSocket::new(&world.stacks[0], Family::V4);
    assert_eq!(late.connect(v4(1, 80)), Err(Errno::EINPROGRESS));
    world.run(100_000);
    assert_eq!(late.take_error(), None);
    world.run(30_000);
    assert_eq!(late.take_error(), Some(Errno::ETIMEDOUT));
}

#[test]
fn half_close_delivers_the_rest() {
    let world = World::new(5);
    let (_listener, client, server) = world.connected();
    send(&client, b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(send(&client, b"more"), Err(Errno::EPIPE));
    world.run(100);
    assert_eq!(receive(&server, 100).unwrap(), b"question");
    assert_eq!(receive(&server, 100).unwrap(), b"");
    assert!(server.poll().contains(PollEvents::IN | PollEvents::RDHUP | PollEvents::OUT));
    assert!(!server.poll().contains(PollEvents::HUP));
    send(&server, b"answer").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    world.run(100);
    assert_eq!(receive(&client, 100).unwrap(), b"answer");
    assert_eq!(receive(&client, 100).unwrap(), b"");
    assert!(client.poll().contains(PollEvents::HUP));
    // Both directions over: Linux's socket is closed then, its remains wait.
    assert_eq!(client.peer_address(), Err(Errno::ENOTCONN));
    assert_eq!(world.stacks[0].counters().tcp.time_wait, 1);
    world.run(70_000);
    assert_eq!(world.stacks[0].counters().tcp.time_wait, 0);
}

#[test]
fn closing_with_unread_data_resets() {
    let world = World::new(6);
    let (_listener, client, server) = world.connected();
    send(&client, b"never read").unwrap();
    world.run(100);
    server.close();
    world.run(100);
    assert_eq!(receive(&client, 10), Err(Errno::ECONNRESET));
    assert_eq!(receive(&client, 10), Ok(Vec::new()));
    assert_eq!(send(&client, b"x"), Err(Errno::EPIPE));
}

#[test]
fn data_for_a_closed_socket_resets() {
    let world = World::new(7);
    let (_listener, client, server) = world.connected();
    server.close();
    world.run(100);
    assert_eq!(receive(&client, 10), Ok(Vec::new()));
    assert!(client.poll().contains(PollEvents::RDHUP));
    assert_eq!(send(&client, b"too late"), Ok(8));
    world.run(100);
    // Linux: a reset in CLOSE-WAIT is EPIPE.
    assert_eq!(client.take_error(), Some(Errno::EPIPE));
    assert_eq!(send(&client, b"x"), Err(Errno::EPIPE));
    drop((client, server));
    world.run(70_000);
    assert_eq!(world.stacks[0].counters().tcp.sockets, 0);
}

#[test]
fn linger_zero_resets() {
    let world = World::new(8);
    let (_listener, client, server) = world.connected();
    client.set_options(|options| options.linger = Some(Duration::ZERO));
    client.close();
    world.run(100);
    assert!(server.poll().contains(PollEvents::ERR | PollEvents::HUP | PollEvents::IN));
    assert_eq!(receive(&server, 10), Err(Errno::ECONNRESET));
    assert_eq!(world.stacks[0].counters().tcp.time_wait, 0);
}

/// As on Linux: accept(2) gives the connection and its address, reading tells of the reset.
#[test]
fn a_reset_before_accept_is_told_by_reading() {
    let world = World::new(8);
    let listener = listen(&world.stacks[1], "0.0.0.0:80", 8);
    let client = TcpSocket::new(&world.stacks[0], Family::V4);
    assert_eq!(client.connect(v4(1, 80)), Err(Errno::EINPROGRESS));
    world.run(500);
    let address = client.local_address();
    client.set_options(|options| options.linger = Some(Duration::ZERO));
    client.close();
    world.run(500);
    let server = listener.accept().unwrap();
    assert_eq!(server.origin(), Ok(address));
    assert_eq!(server.peer_address(), Err(Errno::ENOTCONN));
    assert_eq!(receive(&server, 10), Err(Errno::ECONNRESET));
}

#[test]
fn backlog_bounds_what_waits() {
    let world = World::new(9);
    let listener = listen(&world.stacks[1], "0.0.0.0:80", 1);
    let clients: Vec<_> = (0..5)
        .map(|_| {
            let client = TcpSocket::new(&world.stacks[0], Family::V4);
            assert_eq!(client.connect(v4(1, 80)), Err(Errno::EINPROGRESS));
            client
        })
        .collect();
    world.run(500);
    let up = |clients: &[Arc<TcpSocket>]| {
        clients.iter().filter(|client| client.peer_address().is_ok()).count()
    };
    // Linux admits one more than it was told.
    assert_eq!(up(&clients), 2);
    assert!(listener.accept().is_ok() && listener.accept().is_ok());
    assert_eq!(listener.accept().err(), Some(Errno::EAGAIN));
    // The others try again by themselves.
    world.run(5_000);
    assert_eq!(up(&clients), 4);
}

#[test]
fn half_open_connections_go_away() {
    let world = World::new(10);
    let listener = listen(&world.stacks[1], "0.0.0.0:80", 4);
    // ARP first, then SYNs whose answers are lost.
    let (_l, _c, _s) = {
        let other = listen(&world.stacks[1], "0.0.0.0:81", 4);
        let client = TcpSocket::new(&world.stacks[0], Family::V4);
        let _ = client.connect(v4(1, 81));
        world.run(100);
        (other, client, 0)
    };
    let syn = syn_frame(1000);
    world.wire.inject(1, syn);
    world.run(1_000);
    assert!(world.stacks[1].tcp_sockets().iter().any(|row| row.state == TcpState::SynReceived));
    world.run(70_000);
    assert!(!world.stacks[1].tcp_sockets().iter().any(|row| row.state == TcpState::SynReceived));
    assert_eq!(listener.accept().err(), Some(Errno::EAGAIN));
}

/// A SYN from an address that nobody has.
fn syn_frame(port: u16) -> Vec<u8> {
    let mut frame = vec![0; 54];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[17] = 40;
    frame[22] = 64;
    frame[23] = 6;
    frame[26..30].copy_from_slice(&[10, 0, 0, 77]);
    frame[30..34].copy_from_slice(&[10, 0, 0, 2]);
    let sum = !sum(&frame[14..34], 0);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[37] = 80;
    frame[46] = 0x50;
    frame[47] = 2;
    frame[48..50].copy_from_slice(&1000u16.to_be_bytes());
    let start = u32::from(self::sum(&frame[26..34], 0)) + 6 + 20;
    let sum = !self::sum(&frame[34..], start);
    frame[50..52].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair[1]);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn a_flood_of_syns_leaves_the_listener_alive() {
    let world = World::new(11);
    let listener = listen(&world.stacks[1], "0.0.0.0:80", 128);
    for port in 1..5000 {
        world.wire.inject(1, syn_frame(port));
    }
    world.run(2_000);
    let tcp = world.stacks[1].counters().tcp;
    assert!(tcp.sockets < 140, "{tcp:?}");
    world.run(70_000);
    let client = TcpSocket::new(&world.stacks[0], Family::V4);
    assert_eq!(client.connect(v4(1, 80)), Err(Errno::EINPROGRESS));
    world.run(1_000);
    assert!(listener.accept().is_ok());
}

#[test]
fn bind_rules() {
    let world = World::new(12);
    let stack = &world.stacks[1];
    let socket = |reuse| {
        let socket = TcpSocket::new(stack, Family::V4);
        socket.set_options(|options| options.reuse_address = reuse);
        socket
    };
    let at = |text: &str| text.parse().unwrap();
    let one = socket(false);
    assert_eq!(one.bind(at("192.0.2.1:80")), Err(Errno::EADDRNOTAVAIL));
    one.bind(at("10.0.0.2:80")).unwrap();
    assert_eq!(one.bind(at("10.0.0.2:81")), Err(Errno::EINVAL));
    assert_eq!(socket(false).bind(at("0.0.0.0:80")), Err(Errno::EADDRINUSE));
    assert_eq!(socket(true).bind(at("0.0.0.0:80")), Err(Errno::EADDRINUSE));
    socket(false).bind(at("127.0.0.1:80")).unwrap();
    drop(one);
    let two = socket(true);
    two.bind(at("0.0.0.0:80")).unwrap();
    let three = socket(true);
    three.bind(at("0.0.0.0:80")).unwrap();
    two.listen(1).unwrap();
    assert_eq!(three.listen(1), Err(Errno::EADDRINUSE));
    assert_eq!(socket(true).bind(at("0.0.0.0:80")), Err(Errno::EADDRINUSE));
    let any = socket(false);
    any.bind(at("0.0.0.0:0")).unwrap();
    assert!((32_768..=60_999).contains(&any.local_address().port()));
    // SO_REUSEPORT: several listeners.
    let listeners: Vec<_> = (0..3)
        .map(|_| {
            let socket = TcpSocket::new(stack, Family::V4);
            socket.set_options(|options| options.reuse_port = true);
            socket.bind(at("0.0.0.0:90")).unwrap();
            socket.listen(16).unwrap();
            socket
        })
        .collect();
    drop(listeners);
}

#[test]
fn a_server_restarts_while_old_connections_remain() {
    let world = World::new(13);
    let (listener, client, server) = world.connected();
    server.close();
    client.close();
    listener.close();
    world.run(100);
    assert_eq!(world.stacks[1].counters().tcp.time_wait, 1);
    let plain = TcpSocket::new(&world.stacks[1], Family::V4);
    assert_eq!(plain.bind("0.0.0.0:80".parse().unwrap()), Err(Errno::EADDRINUSE));
    let again = listen(&world.stacks[1], "0.0.0.0:80", 16);
    assert_eq!(again.accept().err(), Some(Errno::EAGAIN));
}

#[test]
fn closing_a_listener_resets_who_waits() {
    let world = World::new(14);
    let listener = listen(&world.stacks[1], "0.0.0.0:80", 16);
    let client = TcpSocket::new(&world.stacks[0], Family::V4);
    assert_eq!(client.connect(v4(1, 80)), Err(Errno::EINPROGRESS));
    world.run(100);
    listener.close();
    world.run(100);
    assert_eq!(receive(&client, 10), Err(Errno::ECONNRESET));
    let tcp = world.stacks[1].counters().tcp;
    assert_eq!((tcp.sockets, tcp.orphans, tcp.buffer_bytes), (0, 0, 0));
}

#[test]
fn keep_alive_finds_a_dead_peer() {
    let world = World::new(15);
    let (_listener, client, server) = world.connected();
    client.set_options(|options| {
        options.keep_alive = true;
        options.keep_idle = Duration::from_secs(10);
        options.keep_interval = Duration::from_secs(2);
        options.keep_count = 3;
    });
    world.run(100_000);
    assert_eq!(client.take_error(), None);
    assert!(client.peer_address().is_ok());
    world.wire.cut(true);
    world.run(20_000);
    assert_eq!(receive(&client, 1), Err(Errno::ETIMEDOUT));
    drop(server);
}

#[test]
fn user_timeout_ends_a_stalled_connection() {
    let world = World::new(16);
    let (_listener, client, _server) = world.connected();
    client.set_options(|options| options.user_timeout = Some(Duration::from_secs(5)));
    world.wire.cut(true);
    send(&client, b"lost").unwrap();
    world.run(4_000);
    assert_eq!(client.take_error(), None);
    world.run(2_000);
    assert_eq!(client.take_error(), Some(Errno::ETIMEDOUT));
}

#[test]
fn orphans_end_by_themselves() {
    let world = World::new(17);
    let (_listener, client, server) = world.connected();
    // The peer never closes: FIN-WAIT-2 lasts a minute.
    client.close();
    world.run(1_000);
    assert_eq!(world.stacks[0].counters().tcp.sockets, 0, "remains keep no socket");
    world.run(65_000);
    assert_eq!(world.stacks[0].counters().tcp.time_wait, 0);
    send(&server, b"x").unwrap();
    world.run(1_000);
    assert!(server.take_error().is_some());
    // The peer vanished with data outstanding.
    let (_listener, client, _server) = {
        drop(_listener);
        drop(server);
        world.run(1000);
        world.connected()
    };
    world.wire.cut(true);
    send(&client, b"lost").unwrap();
    client.close();
    world.run(120_000);
    let tcp = world.stacks[0].counters().tcp;
    assert_eq!((tcp.sockets, tcp.orphans, tcp.buffer_bytes), (0, 0, 0));
}

#[test]
fn a_full_window_stalls_and_goes_on() {
    let world = World::new(18);
    let (_listener, client, server) = world.connected();
    let mut sent = 0;
    let chunk = vec![1; 64 << 10];
    for _ in 0..100 {
        if let Ok(count) = send(&client, &chunk) {
            sent += count;
        }
        world.run(10);
    }
    assert_eq!(send(&client, &chunk), Err(Errno::EAGAIN));
    assert!(!client.poll().contains(PollEvents::OUT));
    world.run(10_000);
    let mut got = 0;
    assert!(world.run_until(100_000, || {
        if let Ok(bytes) = receive(&server, 1 << 20) {
            got += bytes.len();
        }
        got == sent
    }));
    assert!(client.poll().contains(PollEvents::OUT));
}

#[test]
fn a_thousand_connections_are_all_answered() {
    // 16 MiB of buffers: what a machine of 64 MiB gives.
    let world = World::with(19, Faults::NONE, true, 16 << 20);
    let listener = listen(&world.stacks[1], "0.0.0.0:80", 4096);
    let clients: Vec<_> = (0..1000)
        .map(|_| {
            let client = TcpSocket::new(&world.stacks[0], Family::V4);
            assert_eq!(client.connect(v4(1, 80)), Err(Errno::EINPROGRESS));
            client
        })
        .collect();
    let mut servers = Vec::new();
    let mut answered = vec![false; clients.len()];
    let mut asked = vec![false; clients.len()];
    assert!(world.run_until(60_000, || {
        while let Ok(server) = listener.accept() {
            servers.push(server);
        }
        for (at, client) in clients.iter().enumerate() {
            if !asked[at] && client.peer_address().is_ok() {
                send(client, b"ping").unwrap();
                asked[at] = true;
            }
            if asked[at] && !answered[at] && receive(client, 10).is_ok_and(|got| got == b"pong") {
                answered[at] = true;
            }
        }
        for server in &servers {
            if receive(server, 10).is_ok_and(|got| got == b"ping") {
                send(server, b"pong").unwrap();
            }
        }
        answered.iter().all(|done| *done)
    }));
    drop((clients, servers, listener));
    world.run(70_000);
    for stack in &world.stacks {
        let tcp = stack.counters().tcp;
        assert_eq!((tcp.sockets, tcp.time_wait, tcp.buffer_bytes), (0, 0, 0));
    }
}
