//! What a connection says when it has little to say: acknowledgements wait for the answer, and the
//! window is told when that helps.

mod common;

use base::Errno;
use common::{World, receive, send};
use net::TcpSocket;

/// Reads until nothing is there. Returns how much it was.
fn drain(socket: &TcpSocket) -> usize {
    let mut total = 0;
    loop {
        match receive(socket, 10_000) {
            Ok(bytes) if bytes.is_empty() => return total,
            Ok(bytes) => total += bytes.len(),
            Err(errno) => {
                assert_eq!(errno, Errno::EAGAIN);
                return total;
            }
        }
    }
}

/// Question and answer cost a frame each: the answer acknowledges the question, and the next
/// question the answer.
#[test]
fn an_answer_acknowledges_the_question() {
    let world = World::new(1);
    let (_listener, client, server) = world.connected();
    world.run(1000);
    let before = world.wire.frames();
    for _ in 0..20 {
        send(&client, &[1; 700]).expect("there is room");
        world.run(1);
        assert_eq!(drain(&server), 700);
        send(&server, &[2; 900]).expect("there is room");
        world.run(1);
        assert_eq!(drain(&client), 900);
    }
    assert_eq!(world.wire.frames() - before, 40);
    world.run(100);
    assert_eq!(world.wire.frames() - before, 41, "the last answer is acknowledged by itself");
    assert_eq!(server.unsent_bytes(), 0);
}

/// Without an answer the acknowledgement comes after 40 ms, and not much later.
#[test]
fn an_acknowledgement_waits_for_40_ms() {
    for bytes in [1, 600, 1460] {
        let world = World::new(2);
        let (_listener, client, server) = world.connected();
        for _ in 0..5 {
            world.run(1000);
            send(&client, &vec![1; bytes]).expect("there is room");
            world.run(1);
            assert_eq!(drain(&server), bytes);
            world.run(30);
            assert_eq!(client.unsent_bytes(), bytes, "too early");
            world.run(15);
            assert_eq!(client.unsent_bytes(), 0, "too late");
        }
    }
}

/// With quick acknowledgements (`TCP_QUICKACK`) it comes at once.
#[test]
fn a_quick_acknowledgement_does_not_wait() {
    let world = World::new(3);
    let (_listener, client, server) = world.connected();
    server.set_options(|options| options.quick_ack = true);
    world.run(1000);
    send(&client, &[1; 100]).expect("there is room");
    world.run(1);
    assert_eq!(client.unsent_bytes(), 0);
}

/// Every second full segment is acknowledged at once: a sender in slow start waits for it.
#[test]
fn more_than_a_segment_is_acknowledged_at_once() {
    let world = World::new(4);
    let (_listener, client, server) = world.connected();
    world.run(1000);
    send(&client, &[1; 4000]).expect("there is room");
    world.run(2);
    assert!(client.unsent_bytes() <= 1460, "{} bytes wait", client.unsent_bytes());
    assert_eq!(drain(&server), 4000);
}

/// A reader that makes room tells the writer who waits for it, however small the pieces were.
#[test]
fn room_is_told_at_once() {
    for piece in [1, 100, 1000, 100_000] {
        let world = World::new(5);
        let (_listener, client, server) = world.connected();
        for _ in 0..3 {
            world.run(1000);
            let block = vec![1; piece];
            let mut given = 0;
            for _ in 0..300 {
                match send(&client, &block) {
                    Ok(count) => given += count,
                    Err(errno) => assert_eq!(errno, Errno::EAGAIN),
                }
            }
            world.run(100);
            let mut got = 0;
            // No probe of the window is due within this time.
            for _ in 0..20 {
                got += drain(&server);
                world.run(1);
            }
            assert_eq!(got, given, "pieces of {piece}");
        }
    }
}
