//! Load for a long time, and many boots: what the `soak` command does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::{self, Variant};
use crate::http::{self, KeepAlive};
use crate::process::Exit;
use crate::vm::{Mode, Vm};

/// A client that behaves is answered within this time, whatever the others do.
const LIMIT: Duration = Duration::from_secs(30);
/// Memory is compared from here on: buffers and pools have reached their size.
const WARM_UP: Duration = Duration::from_secs(30);
/// What may be missing at the end: the next growth step of a pool, not a leak that goes on.
const TOLERANCE: u64 = 4 << 20;

/// What the clients did.
#[derive(Default)]
struct Tally {
    good: AtomicU64,
    rude: AtomicU64,
    lost: AtomicU64,
}

/// Puts a web server under load for so long.
///
/// # Errors
/// A client that behaved was not answered, the program ended, or memory is missing.
pub fn load(mode: &Mode, duration: Duration) -> Result<()> {
    let elf = build::go("programs/httpserve", build::NEWEST, Variant::Plain)?;
    let mut vm = Vm::of(&elf, mode).memory("256M");
    let (plain, secure) = (vm.listen(80)?, vm.listen(443)?);
    let mut running = vm.args(["-serve", "-http", &plain, "-https", &secure]).start()?;
    running.get_until_ready(80, "/")?;
    let port = running.port(80)?;
    let (tally, stop) = (Tally::default(), AtomicBool::new(false));
    let (tally, stop) = (&tally, &stop);
    let started = Instant::now();
    let measured = thread::scope(|scope| -> Result<(u64, u64)> {
        type Client = fn(u16, &Tally, &AtomicBool);
        let clients: [(usize, Client); 5] =
            [(8, keep_alive), (4, come_and_go), (2, stalling), (2, resetting), (2, leaving)];
        for (count, client) in clients {
            for _ in 0..count {
                scope.spawn(move || client(port, tally, stop));
            }
        }
        let result = watch(&mut running, port, duration, started, tally);
        stop.store(true, Relaxed);
        result
    });
    let (before, after) = measured?;
    let (good, rude, lost) =
        (tally.good.load(Relaxed), tally.rude.load(Relaxed), tally.lost.load(Relaxed));
    println!(
        "{good} answered, {rude} rude connections, {lost} lost; free memory {before} then {after}"
    );
    running.get(80, "/exit?code=0")?;
    running.expect(Exit::Code(0), LIMIT)?;
    if lost > 0 || good == 0 {
        bail!("{lost} connections lost, {good} answered");
    }
    if !matches!(mode, Mode::Native) && after + TOLERANCE < before {
        bail!("{} bytes of memory are gone", before - after);
    }
    Ok(())
}

/// Waits, tells how it goes, and measures free memory after the warm-up and at the end.
fn watch(
    running: &mut crate::vm::Running,
    port: u16,
    duration: Duration,
    started: Instant,
    tally: &Tally,
) -> Result<(u64, u64)> {
    let (mut before, mut told) = (None, Instant::now());
    while started.elapsed() < duration {
        thread::sleep(Duration::from_millis(500));
        running.still_runs()?;
        if before.is_none() && started.elapsed() > WARM_UP.min(duration / 2) {
            before = Some(free_memory(port)?);
        }
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            let (good, lost) = (tally.good.load(Relaxed), tally.lost.load(Relaxed));
            println!(
                "{:.0?}: {good} answered, {lost} lost, free {}",
                started.elapsed(),
                free_memory(port)?
            );
        }
    }
    Ok((before.context("too short to measure")?, free_memory(port)?))
}

/// Free memory of the machine, in bytes, after the program has collected its garbage.
fn free_memory(port: u16) -> Result<u64> {
    let reply = http::request(port, "GET", "/memory?collect=1", b"", LIMIT)?;
    let text = reply.text();
    let (_, rest) = text.split_once("\"free\":").with_context(|| format!("odd reply {text:?}"))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("odd reply {text:?}"))
}

/// Counts one exchange of a client that behaves.
fn count(what: &str, result: &Result<()>, tally: &Tally) {
    match result {
        Ok(()) => tally.good.fetch_add(1, Relaxed),
        Err(error) => {
            eprintln!("lost ({what}): {error:#}");
            tally.lost.fetch_add(1, Relaxed)
        }
    };
}

fn expect_bytes(reply: &http::Reply, size: usize) -> Result<()> {
    if reply.status != 200 || reply.body.len() != size {
        bail!("status {}, {} bytes of {size}", reply.status, reply.body.len());
    }
    Ok(())
}

/// Many requests on a connection.
fn keep_alive(port: u16, tally: &Tally, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        let mut connection = match KeepAlive::open(port, LIMIT) {
            Ok(connection) => connection,
            Err(error) => {
                count("keep-alive", &Err(error), tally);
                return;
            }
        };
        for n in 0..200 {
            if stop.load(Relaxed) {
                return;
            }
            let size = n * 37;
            let result = connection
                .request("GET", &format!("/bytes?n={size}"), b"")
                .and_then(|reply| expect_bytes(&reply, size));
            count("keep-alive", &result, tally);
            if result.is_err() {
                break;
            }
        }
    }
}

/// A connection for each request.
fn come_and_go(port: u16, tally: &Tally, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        let result = http::request(port, "GET", "/bytes?n=100000", b"", LIMIT)
            .and_then(|reply| expect_bytes(&reply, 100_000));
        count("come and go", &result, tally);
    }
}

fn connect(port: u16) -> Option<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let stream = TcpStream::connect_timeout(&address, LIMIT).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    stream.set_write_timeout(Some(LIMIT)).ok()?;
    Some(stream)
}

/// Sends half a request, or takes a reply a little at a time, then goes.
fn stalling(port: u16, tally: &Tally, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        if let Some(mut stream) = connect(port) {
            let _ = stream.write_all(b"GET /bytes?n=1000000 HTTP/1.1\r\nHo");
            thread::sleep(Duration::from_millis(300));
            let _ = stream.write_all(b"st: x\r\n\r\n");
            let mut block = [0; 1000];
            for _ in 0..20 {
                if stream.read(&mut block).is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
            tally.rude.fetch_add(1, Relaxed);
        }
    }
}

/// Closes with data unread, which makes the host's kernel send a reset.
fn resetting(port: u16, tally: &Tally, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        if let Some(mut stream) = connect(port) {
            let _ = stream.write_all(b"GET /bytes?n=300000 HTTP/1.1\r\nHost: x\r\n\r\n");
            let _ = stream.read(&mut [0; 100]);
            tally.rude.fetch_add(1, Relaxed);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Connects and goes without a word.
fn leaving(port: u16, tally: &Tally, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        drop(connect(port));
        tally.rude.fetch_add(1, Relaxed);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Starts the example server so many times; each time it must answer and end.
///
/// # Errors
/// The first start that does not answer.
pub fn boots(mode: &Mode, times: u64) -> Result<()> {
    let elf = build::go("programs/httpserve", build::NEWEST, Variant::Plain)?;
    let mut took = Vec::new();
    for n in 1..=times {
        let mut vm = Vm::of(&elf, mode);
        let (plain, secure) = (vm.listen(80)?, vm.listen(443)?);
        let mut running = vm.args(["-serve", "-http", &plain, "-https", &secure]).start()?;
        let (reply, time) =
            running.get_until_ready(80, "/").with_context(|| format!("boot {n}"))?;
        if reply.status != 200 {
            bail!("boot {n}: status {}", reply.status);
        }
        running.get(80, "/exit?code=5").with_context(|| format!("boot {n}: end"))?;
        running.expect(Exit::Code(5), LIMIT).with_context(|| format!("boot {n}: end"))?;
        took.push(time);
        if n % 20 == 0 {
            println!("{n} boots answered");
        }
    }
    took.sort();
    if let (Some(first), Some(middle), Some(last)) =
        (took.first(), took.get(took.len() / 2), took.last())
    {
        println!(
            "{times} of {times} answered; first reply after {first:.0?} (least), {middle:.0?} (median), {last:.0?} (most)"
        );
    }
    Ok(())
}
