//! Urgent bytes in segments (RFC 6093), with pauses of any length between what programs do: a busy host
//! lets a machine stand still for longer than any of TCP's timers.

mod common;

use base::io::SliceSink;
use base::{Errno, Instant};
use common::{World, listen, receive, send};
use net::{Family, RawSocket, TcpSocket};
use std::sync::atomic::Ordering;

/// Time goes on: step by step, or in one leap, after which all that was due is late.
fn pause(world: &mut World) {
    let long = [0, 1, 45, 250, 1_500][world.rng.below(5) as usize];
    if world.rng.chance(50) {
        world.run(long);
    } else {
        world.clock.fetch_add(long * 1_000_000, Ordering::Relaxed);
        let now: Instant = world.now();
        world.stacks[0].poll(now);
    }
}

/// What `read` gives once it gives something.
fn wait<T>(world: &World, mut read: impl FnMut() -> Result<T, Errno>) -> Option<T> {
    let mut got = None;
    world.run_until(60_000, || {
        got = got.take().or_else(|| read().ok());
        got.is_some()
    });
    got
}

/// Looks at the stream: `want`, or the beginning of it.
fn look(world: &mut World, socket: &TcpSocket, want: &[u8], context: &str) {
    if !world.rng.chance(50) {
        return;
    }
    let mut bytes = [0; 10];
    match socket.receive(&mut SliceSink::new(&mut bytes), true) {
        Ok(count) => {
            assert!(count > 0 && want.starts_with(&bytes[..count]), "{context}: {bytes:?}")
        }
        Err(errno) => assert_eq!(errno, Errno::EAGAIN, "{context}"),
    }
}

#[test]
fn an_urgent_byte_stays_apart_whatever_the_pauses() {
    for seed in 0..500 {
        let mut world = World::new(seed);
        // Who watches packets gets segments.
        let _watcher = RawSocket::new(&world.stacks[0], Family::V4, 1, false);
        let listener = listen(&world.stacks[0], "127.0.0.1:80", 16);
        let client = TcpSocket::new(&world.stacks[0], Family::V4);
        let _ = client.connect(listener.local_address());
        let server = wait(&world, || listener.accept()).expect("a connection");
        for round in 0..20_u8 {
            let (before, behind) = (world.rng.below(3) as usize, world.rng.below(3) as usize);
            let text = vec![b'a'; before];
            if before > 0 {
                assert_eq!(send(&client, &text), Ok(before));
                pause(&mut world);
            }
            assert_eq!(client.send_urgent(round), Ok(1));
            pause(&mut world);
            if behind > 0 {
                assert_eq!(send(&client, &vec![b'b'; behind]), Ok(behind));
                pause(&mut world);
            }
            let mut apart = None;
            if world.rng.chance(50) {
                apart = wait(&world, || server.receive_urgent(false));
                assert_eq!(apart, Some(Some(round)), "seed {seed}, round {round}: apart, early");
            }
            let mut stream = Vec::new();
            while stream.len() < before {
                let rest = &text[stream.len()..];
                look(&mut world, &server, rest, &format!("seed {seed}, round {round}: before"));
                let got = wait(&world, || receive(&server, 10));
                stream.extend(got.expect("what is before the urgent byte"));
                pause(&mut world);
            }
            assert_eq!(stream, text, "seed {seed}, round {round}: up to the mark");
            if apart.is_none() {
                let there = wait(&world, || server.receive_urgent(true));
                assert_eq!(there, Some(Some(round)), "seed {seed}, round {round}: seen apart");
                assert!(server.is_at_mark(), "seed {seed}, round {round}: the mark");
            }
            let text = vec![b'b'; behind];
            let mut stream = Vec::new();
            while stream.len() < behind {
                let rest = &text[stream.len()..];
                look(&mut world, &server, rest, &format!("seed {seed}, round {round}: behind"));
                let got = wait(&world, || receive(&server, 10));
                stream.extend(got.expect("what is behind the urgent byte"));
            }
            assert_eq!(stream, text, "seed {seed}, round {round}: behind it");
            assert_eq!(receive(&server, 10), Err(Errno::EAGAIN), "seed {seed}, round {round}");
            pause(&mut world);
        }
    }
}
