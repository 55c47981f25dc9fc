//! A static Rust program with threads, channels, files, sockets and time. Exit status 0 only if
//! everything held.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

fn check(what: &str, held: bool) {
    println!("{} {what}", if held { "ok  " } else { "FAIL" });
    if !held {
        process::exit(1);
    }
}

fn main() {
    check("arguments", env::args().count() >= 1);
    let counter = Arc::new(Mutex::new(0));
    let (sender, receiver) = mpsc::channel();
    for number in 0..4 {
        let (counter, sender) = (Arc::clone(&counter), sender.clone());
        thread::spawn(move || {
            for _ in 0..10_000 {
                *counter.lock().unwrap() += 1;
            }
            sender.send(number).unwrap();
        });
    }
    check("channel", receiver.iter().take(4).sum::<i32>() == 6);
    check("mutex", *counter.lock().unwrap() == 40_000);

    let caught = thread::spawn(|| panic!("told to panic")).join();
    check("a panic in a thread is caught", caught.is_err());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(text.to_uppercase().as_bytes()).unwrap();
    });
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"over loopback").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    server.join().unwrap();
    check("socket", reply == "OVER LOOPBACK");

    fs::write("/tmp/rust-hello", "content").unwrap();
    check("file", fs::read_to_string("/tmp/rust-hello").unwrap() == "content");
    fs::remove_file("/tmp/rust-hello").unwrap();

    let start = Instant::now();
    thread::sleep(Duration::from_millis(20));
    check("sleep", start.elapsed() >= Duration::from_millis(20));

    let map: std::collections::HashMap<_, _> = (0..100_000).map(|n| (n, n * n)).collect();
    check("hash map", map.get(&99_999) == Some(&9_999_800_001_i64));
}
