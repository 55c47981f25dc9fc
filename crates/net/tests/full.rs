//! Both ends full at once: an echo server that can write no more because its client does not read,
//! and a client that goes on writing.
#![expect(clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use base::{Errno, Instant};
use common::{World, listen, receive, send};
use net::{Family, RawSocket, Shutdown, TcpSocket, TcpState};

/// What the client sends: more than all buffers of both ends hold.
const BYTES: usize = 8 << 20;

fn byte(at: usize) -> u8 {
    ((at * 7) >> 3) as u8
}

/// The server's side: what it read and could not write yet.
struct Echo {
    socket: std::sync::Arc<TcpSocket>,
    held: Vec<u8>,
    finished: bool,
}

impl Echo {
    /// Moves what can be moved. Reads only when everything read before is written, as io.Copy does.
    fn step(&mut self) {
        loop {
            while !self.held.is_empty() {
                match send(&self.socket, &self.held) {
                    Ok(count) => drop(self.held.drain(..count)),
                    Err(errno) => return assert_eq!(errno, Errno::EAGAIN),
                }
            }
            if self.finished {
                return;
            }
            match receive(&self.socket, 1 << 20) {
                Ok(bytes) if bytes.is_empty() => {
                    self.finished = true;
                    self.socket.close();
                }
                Ok(bytes) => self.held = bytes,
                Err(errno) => return assert_eq!(errno, Errno::EAGAIN),
            }
        }
    }
}

/// Everything comes back, however the turns of the two ends fall.
#[test]
fn an_echo_goes_on_after_both_ends_were_full() {
    (0..40).for_each(|seed| echo(seed, true));
}

/// The same the short way, without segments.
#[test]
fn an_echo_goes_on_after_both_inboxes_were_full() {
    (0..10).for_each(|seed| echo(seed, false));
}

fn echo(seed: u64, segments: bool) {
    let mut world = World::new(seed);
    let stack = std::sync::Arc::clone(&world.stacks[0]);
    // While somebody looks at packets, there are some.
    let _watcher = segments.then(|| RawSocket::new(&stack, Family::V6, 6, false));
    let listener = listen(&stack, "127.0.0.1:80", 16);
    let client = TcpSocket::new(&stack, Family::V4);
    let _ = client.connect(listener.local_address());
    assert!(world.run_until(1000, || client.peer_address().is_ok()));
    let socket = listener.accept().expect("the connection is made");
    let mut echo = Echo { socket, held: Vec::new(), finished: false };
    let (mut sent, mut got) = (0, 0);
    let block: Vec<u8> = (0..BYTES).map(byte).collect();
    let deadline = Instant::from_nanoseconds(world.now().nanoseconds() + 120_000_000_000);
    loop {
        // Turns of random length: the reader is slow at first, then fast.
        let turn = world.rng.below(4);
        if turn < 3 && sent < BYTES {
            let end = BYTES.min(sent + (64 << 10));
            match send(&client, &block[sent..end]) {
                Ok(count) => sent += count,
                Err(errno) => assert_eq!(errno, Errno::EAGAIN),
            }
            if sent == BYTES {
                client.shutdown(Shutdown::Write).expect("the connection is open");
            }
        }
        if turn != 1 {
            echo.step();
        }
        if turn == 3 || sent == BYTES {
            match receive(&client, 10_000) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => {
                    assert!(bytes.iter().zip(got..).all(|(got, at)| *got == byte(at)));
                    got += bytes.len();
                    continue;
                }
                Err(errno) => assert_eq!(errno, Errno::EAGAIN),
            }
        }
        world.run(1);
        assert!(world.now() < deadline, "seed {seed} stalls: {sent} sent, {got} came back");
    }
    assert_eq!(got, BYTES, "seed {seed}");
    // The client knows all; the server must come to know that it does.
    client.close();
    world.run(5_000);
    let left = stack.tcp_sockets();
    let left: Vec<_> = left.iter().filter(|row| row.state != TcpState::Listen).collect();
    assert!(left.is_empty(), "seed {seed}: {left:?}");
}
