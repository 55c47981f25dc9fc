//! Connections within the machine, whose data goes from one socket to the other without segments:
//! what programs see must be what TCP gives.
#![expect(clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use base::Errno;
use base::io::SliceSink;
use common::{Faults, World, listen, receive, send};
use net::{Family, RawSocket, Shutdown, TcpSocket};
use sched::PollEvents;
use std::collections::VecDeque;
use std::sync::Arc;

/// A connection of side 0 with itself: (listener, client, server).
fn pair(world: &World) -> (Arc<TcpSocket>, Arc<TcpSocket>, Arc<TcpSocket>) {
    let listener = listen(&world.stacks[0], "127.0.0.1:80", 16);
    let client = TcpSocket::new(&world.stacks[0], Family::V4);
    let _ = client.connect(listener.local_address());
    let server = listener.accept().expect("the handshake is complete");
    (listener, client, server)
}

fn segments(world: &World) -> u64 {
    world.stacks[0].interfaces()[0].counters.sent_packets
}

fn peek(socket: &TcpSocket, most: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; most];
    let count = socket.receive(&mut SliceSink::new(&mut bytes), true)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Fills until there is no room. Returns how much went in.
fn fill(socket: &TcpSocket) -> usize {
    let block = [9; 50_000];
    let mut total = 0;
    loop {
        match send(socket, &block) {
            Ok(count) => total += count,
            Err(errno) => {
                assert_eq!(errno, Errno::EAGAIN);
                return total;
            }
        }
    }
}

#[test]
fn looking_at_nothing_is_not_the_end() {
    let world = World::new(1);
    let (_listener, client, server) = pair(&world);
    assert_eq!(peek(&server, 10), Err(Errno::EAGAIN));
    assert_eq!(peek(&server, 0), Ok(Vec::new()));
    assert_eq!(send(&client, b"x"), Ok(1));
    assert_eq!(peek(&server, 10), Ok(b"x".to_vec()));
    assert_eq!(receive(&server, 10), Ok(b"x".to_vec()));
    assert_eq!(peek(&server, 10), Err(Errno::EAGAIN));
    client.shutdown(Shutdown::Write).expect("the connection is open");
    world.run(100);
    assert_eq!(peek(&server, 10), Ok(Vec::new()));
}

/// Random writes, reads and looks of both ends, with packets watched now and then, against a queue.
#[test]
fn bytes_keep_their_order_whatever_the_turns() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        let at_rest = world.stacks[0].counters().tcp.buffer_bytes;
        let (listener, client, server) = pair(&world);
        let ends = [client, server];
        let mut queues = [VecDeque::new(), VecDeque::new()];
        let mut next = [0_u8; 2];
        let mut watcher = None;
        for _ in 0..300 {
            let from = world.rng.below(2) as usize;
            let to = 1 - from;
            match world.rng.below(8) {
                0..=2 => {
                    let most = 1 << world.rng.below(17);
                    let length = world.rng.below(most) as usize;
                    let bytes: Vec<u8> =
                        (0..length).map(|n| next[from].wrapping_add((n % 251) as u8)).collect();
                    match send(&ends[from], &bytes) {
                        Ok(count) => {
                            queues[from].extend(&bytes[..count]);
                            next[from] = next[from].wrapping_add(count as u8);
                        }
                        Err(errno) => assert_eq!(errno, Errno::EAGAIN),
                    }
                }
                3 | 4 => {
                    let most = world.rng.below(100_000) as usize;
                    let got = receive(&ends[to], most).unwrap_or_default();
                    assert!(
                        got.into_iter().all(|byte| queues[from].pop_front() == Some(byte)),
                        "seed {seed}"
                    );
                }
                5 => {
                    let most = world.rng.below(100_000) as usize;
                    let seen = peek(&ends[to], most).unwrap_or_default();
                    assert!(seen.iter().eq(queues[from].iter().take(seen.len())), "seed {seed}");
                }
                6 if world.rng.chance(20) => {
                    let stack = &world.stacks[0];
                    let watch = || RawSocket::new(stack, Family::V4, 6, false);
                    watcher = if watcher.is_some() { None } else { Some(watch()) };
                }
                _ => world.run(1 + seed % 50),
            }
        }
        drop(watcher);
        world.run(1000);
        for from in 0..2 {
            ends[from].shutdown(Shutdown::Write).expect("the connection is open");
            world.run(100);
            let mut rest = Vec::new();
            loop {
                let got = receive(&ends[1 - from], 30_000).expect("data or the end");
                if got.is_empty() {
                    break;
                }
                rest.extend(got);
                world.run(50);
            }
            assert!(rest.iter().eq(queues[from].iter()), "seed {seed}");
        }
        drop((ends, listener));
        world.run(100_000);
        assert_eq!(world.stacks[0].counters().tcp.buffer_bytes, at_rest, "seed {seed}");
    }
}

#[test]
fn data_needs_no_acknowledgement() {
    let world = World::new(1);
    let (_listener, client, server) = pair(&world);
    world.run(1000);
    let before = segments(&world);
    for _ in 0..100 {
        assert_eq!(send(&client, &[1; 1000]), Ok(1000));
        assert_eq!(server.readable_bytes(), 1000);
        assert!(server.poll().contains(PollEvents::IN));
        assert_eq!(receive(&server, 2000), Ok(vec![1; 1000]));
        assert_eq!(receive(&server, 2000), Err(Errno::EAGAIN));
    }
    world.run(1000);
    assert_eq!(segments(&world) - before, 100, "each counts as a packet");
    assert_eq!(client.unsent_bytes(), 0);
}

/// Who looks at packets sees them.
#[test]
fn a_raw_socket_sees_segments() {
    let world = World::new(2);
    let (_listener, client, server) = pair(&world);
    let raw = RawSocket::new(&world.stacks[0], Family::V4, 6, false);
    assert_eq!(send(&client, b"for all to see"), Ok(14));
    let mut packet = [0; 200];
    let received = raw.receive(&mut SliceSink::new(&mut packet), false).expect("a packet");
    assert_eq!(&packet[received.stored - 14..received.stored], b"for all to see");
    assert_eq!(receive(&server, 100), Ok(b"for all to see".to_vec()));
}

#[test]
fn a_full_inbox_stops_the_writer_until_there_is_room() {
    let world = World::new(3);
    let (_listener, client, server) = pair(&world);
    let total = fill(&client);
    // As much as Linux's buffers grow to.
    assert!((3 << 20..=4 << 20).contains(&total), "{total}");
    assert!(!client.poll().contains(PollEvents::OUT));
    assert_eq!(receive(&server, 1000).map(|got| got.len()), Ok(1000));
    assert!(!client.poll().contains(PollEvents::OUT), "a little room is none");
    assert_eq!(send(&client, &[9; 5000]), Ok(1000), "but is used");
    assert_eq!(receive(&server, total / 2).map(|got| got.len()), Ok(total / 2));
    assert!(client.poll().contains(PollEvents::OUT));
    assert_eq!(receive(&server, total).map(|got| got.len()), Ok(total - total / 2));
    // The memory that is left counts, which buffers have a part of.
    assert!(fill(&client).abs_diff(total) <= 64 * 1024);
}

/// Buffers of a size that was asked for do not grow, and little memory is not for one connection alone.
#[test]
fn an_inbox_is_as_large_as_was_asked_for_or_there_is_memory() {
    let world = World::new(7);
    let (listener, ..) = pair(&world);
    listener.set_options(|options| options.receive_buffer = Some(32 * 1024));
    let client = TcpSocket::new(&world.stacks[0], Family::V4);
    let _ = client.connect(listener.local_address());
    let _server = listener.accept().expect("the handshake is complete");
    assert_eq!(fill(&client), (128 + 32) * 1024);
    let world = World::with(8, Faults::NONE, false, 4 << 20);
    let (_listener, client, _server) = pair(&world);
    let total = fill(&client);
    assert!((8_000..=260_000).contains(&total), "{total}");
}

/// The end comes after the data, also when the writer is gone altogether.
#[test]
fn the_rest_is_read_after_the_writer_closed() {
    let world = World::new(4);
    let (_listener, client, server) = pair(&world);
    assert_eq!(send(&client, &[5; 3000]), Ok(3000));
    client.close();
    world.run(200_000);
    assert!(server.poll().contains(PollEvents::IN | PollEvents::RDHUP));
    assert_eq!(receive(&server, 2000), Ok(vec![5; 2000]));
    assert_eq!(receive(&server, 2000), Ok(vec![5; 1000]));
    assert_eq!(receive(&server, 2000), Ok(Vec::new()));
}

/// Half-closed: the answer still goes the other way.
#[test]
fn a_half_closed_connection_carries_the_answer() {
    let world = World::new(5);
    let (_listener, client, server) = pair(&world);
    client.shutdown(Shutdown::Write).expect("the connection is open");
    assert_eq!(receive(&server, 10), Ok(Vec::new()));
    assert_eq!(send(&client, &[1]), Err(Errno::EPIPE));
    assert_eq!(send(&server, &[2; 500]), Ok(500));
    server.close();
    assert_eq!(receive(&client, 1000), Ok(vec![2; 500]));
    assert_eq!(receive(&client, 1000), Ok(Vec::new()));
}

/// A reader that closes with data unread resets, and so does data for one that is gone.
#[test]
fn data_that_nobody_reads_resets() {
    let world = World::new(6);
    let (_listener, client, server) = pair(&world);
    assert_eq!(send(&client, &[1; 100]), Ok(100));
    server.close();
    world.run(10);
    assert_eq!(send(&client, &[1; 100]), Err(Errno::ECONNRESET));

    let world = World::new(7);
    let (_listener, client, server) = pair(&world);
    server.close();
    world.run(10);
    assert_eq!(send(&client, &[1; 100]), Ok(100));
    world.run(10);
    let errno = send(&client, &[1; 100]).expect_err("the peer is gone");
    assert!([Errno::EPIPE, Errno::ECONNRESET].contains(&errno), "{errno:?}");
}

/// A reset does not take away what was delivered.
#[test]
fn a_reset_comes_after_the_data() {
    let world = World::new(8);
    let (_listener, client, server) = pair(&world);
    assert_eq!(send(&client, &[1; 100]), Ok(100));
    client.set_options(|options| options.linger = Some(std::time::Duration::ZERO));
    client.close();
    world.run(10);
    assert_eq!(receive(&server, 1000), Ok(vec![1; 100]));
    assert_eq!(receive(&server, 1000), Err(Errno::ECONNRESET));
}

/// What waits to be accepted can be written to already.
#[test]
fn data_waits_for_accept() {
    let world = World::new(9);
    let listener = listen(&world.stacks[0], "127.0.0.1:80", 16);
    let client = TcpSocket::new(&world.stacks[0], Family::V4);
    let _ = client.connect(listener.local_address());
    assert_eq!(send(&client, b"early"), Ok(5));
    let server = listener.accept().expect("the handshake is complete");
    assert_eq!(receive(&server, 10), Ok(b"early".to_vec()));
    assert_eq!(send(&server, b"late"), Ok(4));
    assert_eq!(receive(&client, 10), Ok(b"late".to_vec()));
}
