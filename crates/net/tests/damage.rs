//! Damaged frames must not panic, hang or leak.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

mod common;

use base::io::{SliceSink, SliceSource};
use common::{Faults, World, listen, receive, send, v4, v6};
use net::{Family, SendOptions, TcpSocket, UdpSocket};
use std::sync::Arc;

/// Talks over a wire that changes bytes, and looks only whether both ends live on.
fn survive(seed: u64) {
    let faults = Faults { damage_percent: 40, loss_percent: 1, jitter: 200_000, ..Faults::NONE };
    let mut world = World::with(seed, faults, seed.is_multiple_of(2), 8 << 20);
    let listeners =
        [listen(&world.stacks[1], "[::]:80", 8), listen(&world.stacks[0], "[::]:80", 8)];
    let udp: Vec<Arc<UdpSocket>> = (0..2)
        .map(|side| {
            let socket = UdpSocket::new(&world.stacks[side], Family::V6);
            socket.bind("[::]:53".parse().unwrap()).unwrap();
            socket
        })
        .collect();
    let mut sockets: Vec<Arc<TcpSocket>> = Vec::new();
    let bytes = vec![1; 3000];
    for _ in 0..60 {
        let side = world.rng.below(2) as usize;
        let six = world.rng.chance(50);
        match world.rng.below(8) {
            0 | 1 => {
                let family = if six { Family::V6 } else { Family::V4 };
                let socket = TcpSocket::new(&world.stacks[side], family);
                let to = if six { v6(1 - side, 80) } else { v4(1 - side, 80) };
                let _ = socket.connect(to);
                sockets.push(socket);
            }
            2 if !sockets.is_empty() => {
                let at = world.rng.below(sockets.len() as u64) as usize;
                sockets.swap_remove(at);
            }
            3 => {
                let to = if six { v6(1 - side, 53) } else { v4(1 - side, 53) };
                let length = world.rng.below(3000) as usize;
                let mut source = SliceSource::new(&bytes[..length]);
                let _ = udp[side].send(&mut source, Some(to), &SendOptions::default());
            }
            _ => {
                for socket in &sockets {
                    let _ = send(socket, &bytes);
                    let _ = receive(socket, 5000);
                }
            }
        }
        for listener in &listeners {
            sockets.extend(listener.accept());
        }
        for socket in &udp {
            let mut buffer = [0; 4000];
            let _ = socket.receive(&mut SliceSink::new(&mut buffer), false);
        }
        world.run(20);
    }
    drop((sockets, listeners, udp));
    // With a good wire again, everything comes to an end.
    world.wire.set_faults(Faults::NONE);
    world.run(2_000_000);
    for stack in &world.stacks {
        let tcp = stack.counters().tcp;
        let left = stack.tcp_sockets();
        assert_eq!(
            (tcp.sockets, tcp.orphans, tcp.buffer_bytes),
            (0, 0, 0),
            "seed {seed}: {left:?}"
        );
    }
}

#[test]
fn damaged_frames_are_survived_whatever_the_seed() {
    let seed = std::env::var("EGGOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = seed.map_or(0..300, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| survive(seed));
        assert!(outcome.is_ok(), "EGGOS_SEED={seed}");
    }
}

proptest::proptest! {
    /// Frames of nothing but noise, of every kind that is looked into.
    #[test]
    fn noise_is_survived(
        frames in proptest::collection::vec(
            (0_usize..5, proptest::collection::vec(proptest::num::u8::ANY, 0..120)),
            1..20,
        ),
    ) {
        let world = World::new(1);
        for (kind, noise) in frames {
            let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
            frame.extend_from_slice(match kind {
                0 => &[8, 6, 0, 1, 8, 0, 6, 4, 0][..],
                1 => &[8, 0, 0x45, 0][..],
                2 => &[0x86, 0xdd, 0x60][..],
                3 => &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255][..],
                _ => &[][..],
            });
            frame.extend_from_slice(&noise);
            world.wire.inject(1, frame);
        }
        world.run(5_000);
    }
}
