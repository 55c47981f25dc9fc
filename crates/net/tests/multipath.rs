//! MPTCP: spoken by two sockets of one machine that both ask for it, else TCP.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

mod common;

use common::{World, receive, send, v4};
use net::{Family, TcpSocket};
use std::net::SocketAddr;
use std::sync::Arc;

/// A listener, and a connection to it: [listener, client, server].
fn connect(
    world: &World,
    address: SocketAddr,
    listener: Arc<TcpSocket>,
    client: Arc<TcpSocket>,
) -> [Arc<TcpSocket>; 3] {
    listener.bind(address).unwrap();
    listener.listen(5).unwrap();
    let _ = client.connect(listener.local_address());
    let mut accepted = None;
    world.run_until(10_000, || {
        accepted = accepted.take().or_else(|| listener.accept().ok());
        accepted.is_some() && client.finish_connect().is_ok()
    });
    [listener, client, accepted.unwrap()]
}

fn here(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[test]
fn both_ask() {
    let world = World::new(1);
    let stack = &world.stacks[0];
    let (one, other) =
        (TcpSocket::new_multipath(stack, Family::V4), TcpSocket::new_multipath(stack, Family::V4));
    assert!(!one.multipath().unwrap().has_remote_key);
    let [listener, client, server] = connect(&world, here("127.0.0.1:80"), one, other);
    assert!(listener.multipath().unwrap().is_listener);
    assert_eq!(send(&client, b"twelve bytes"), Ok(12));
    let (near, far) = (client.multipath().unwrap(), server.multipath().unwrap());
    assert!(client.asked_multipath() && server.asked_multipath());
    assert!(near.has_remote_key && near.token != far.token);
    assert_eq!((near.sent, far.received), (12, 12));
    assert_eq!((near.next_sent, far.next_sent), (far.next_received, near.next_received));
    assert_eq!(receive(&server, 100).unwrap(), b"twelve bytes");
    assert_eq!(server.multipath().unwrap(), far);
    client.disconnect().unwrap();
    assert!(!client.multipath().unwrap().has_remote_key);
}

#[test]
fn one_asks() {
    let world = World::new(2);
    let stack = &world.stacks[0];
    let [_, client, server] = connect(
        &world,
        here("127.0.0.1:80"),
        TcpSocket::new_multipath(stack, Family::V4),
        TcpSocket::new(stack, Family::V4),
    );
    assert!(!client.asked_multipath() && !server.asked_multipath());
    let [_, client, server] = connect(
        &world,
        here("[::1]:81"),
        TcpSocket::new(stack, Family::V6),
        TcpSocket::new_multipath(stack, Family::V6),
    );
    assert!(client.asked_multipath() && !server.asked_multipath());
    assert_eq!((client.multipath(), server.multipath()), (None, None));
}

#[test]
fn another_host_never_does() {
    let world = World::new(3);
    let [_, client, server] = connect(
        &world,
        v4(0, 80),
        TcpSocket::new_multipath(&world.stacks[0], Family::V4),
        TcpSocket::new_multipath(&world.stacks[1], Family::V4),
    );
    assert!(client.asked_multipath() && !server.asked_multipath());
    assert_eq!((client.multipath(), server.multipath()), (None, None));
}
