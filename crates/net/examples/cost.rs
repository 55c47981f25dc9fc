//! What the network stack costs on this machine, in time per piece of work (not in the suite:
//! figures depend on the machine). `cargo run --release -p eggos-net --example cost`.
#![expect(clippy::unwrap_used, reason = "a measurement ends where it fails")]

use base::Instant;
use base::io::{SliceSink, SliceSource};
use net::{Family, Stack, StackConfig, TcpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn main() {
    let clock = Arc::new(AtomicU64::new(1));
    let state = AtomicU64::new(1);
    let there = Arc::clone(&clock);
    let stack = Stack::new(StackConfig {
        clock: Box::new(move || Instant::from_nanoseconds(there.load(Ordering::Relaxed))),
        random: Box::new(move || {
            state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_mul(0xbf58_476d)
        }),
        log: Box::new(|_| {}),
        socket_memory: 256 << 20,
    });
    let listener = TcpSocket::new(&stack, Family::V4);
    listener.bind("127.0.0.1:80".parse().unwrap()).unwrap();
    listener.listen(4096).unwrap();
    let mut pairs = Vec::new();
    for count in [1, 10, 100, 1000, 10_000] {
        let began = std::time::Instant::now();
        let fresh = count - pairs.len();
        while pairs.len() < count {
            let client = TcpSocket::new(&stack, Family::V4);
            client.set_options(|options| options.no_delay = true);
            let _ = client.connect("127.0.0.1:80".parse().unwrap());
            let server = listener.accept().unwrap();
            server.set_options(|options| options.no_delay = true);
            pairs.push((client, server));
        }
        let connect = began.elapsed() / fresh as u32;
        let exchange = exchange(&stack, &clock, &pairs);
        println!(
            "{count:6} connections: connect and accept {connect:?}, ask and answer {exchange:?}"
        );
    }
    pairs.truncate(1);
    println!("stream: {:.2} GB/s", stream(&stack, &clock, &pairs[0]));
}

/// 100 bytes there and 1,000 back, one connection after another.
fn exchange(
    stack: &Stack,
    clock: &AtomicU64,
    pairs: &[(Arc<TcpSocket>, Arc<TcpSocket>)],
) -> std::time::Duration {
    const ROUNDS: u32 = 20_000;
    let mut buffer = [0; 2000];
    let began = std::time::Instant::now();
    for round in 0..ROUNDS {
        let (client, server) = &pairs[round as usize * 7919 % pairs.len()];
        client.send(&mut SliceSource::new(&[1; 100])).unwrap();
        assert_eq!(server.receive(&mut SliceSink::new(&mut buffer), false), Ok(100));
        server.send(&mut SliceSource::new(&[2; 1000])).unwrap();
        assert_eq!(client.receive(&mut SliceSink::new(&mut buffer), false), Ok(1000));
        let now = clock.fetch_add(20_000, Ordering::Relaxed);
        stack.poll(Instant::from_nanoseconds(now));
    }
    began.elapsed() / ROUNDS
}

fn stream(stack: &Stack, clock: &AtomicU64, pair: &(Arc<TcpSocket>, Arc<TcpSocket>)) -> f64 {
    const TOTAL: usize = 1 << 30;
    let (client, server) = pair;
    let chunk = vec![3; 64 << 10];
    let mut buffer = vec![0; 64 << 10];
    let (mut got, began) = (0, std::time::Instant::now());
    while got < TOTAL {
        let sent = client.send(&mut SliceSource::new(&chunk)).unwrap_or(0);
        let moved = server.receive(&mut SliceSink::new(&mut buffer), false).unwrap_or(0);
        got += moved;
        if sent == 0 && moved == 0 {
            let now = clock.fetch_add(1_000_000, Ordering::Relaxed);
            stack.poll(Instant::from_nanoseconds(now));
        }
    }
    got as f64 / began.elapsed().as_secs_f64() / 1e9
}
