//! The machine seen from the host: real clients through forwarded ports.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build::{self, GoVersion, Variant};
use crate::http::KeepAlive;
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Running, Vm};

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new("net/thousand".into(), Set::Core, thousand),
        Test::new("net/udp".into(), Set::All, udp),
        Test::new("net/resolver".into(), Set::All, |mode| {
            let elf = build::go("programs/dns", build::NEWEST, Variant::Plain)?;
            Vm::of(&elf, mode).args(["-lookup", "localhost", "-want", "127.0.0.1"]).run(LIMIT)
        }),
    ];
    for version in build::ALL {
        let set = if build::CORE.contains(&version) { Set::Core } else { Set::All };
        tests
            .push(Test::new(format!("net/hello/{version}"), set, move |mode| hello(mode, version)));
        tests.push(Test::new(format!("net/web/{version}"), set, move |mode| web(mode, version)));
    }
    tests
}

/// The example of `make run` answers.
fn hello(mode: &Mode, version: GoVersion) -> Result<()> {
    let elf = build::go("examples/hello", version, Variant::Plain)?;
    let mut vm = Vm::of(&elf, mode);
    let address = vm.listen(80)?;
    let mut running = vm.args(["-listen", &address]).start()?;
    let (reply, _) = running.get_until_ready(80, "/")?;
    if reply.status != 200 || !reply.text().contains(&format!("go{version}")) {
        bail!("status {}: {}", reply.status, reply.text());
    }
    let mut connection = KeepAlive::open(running.port(80)?, Duration::from_secs(30))?;
    for _ in 0..100 {
        connection.request("GET", "/", b"")?;
    }
    if connection.request("GET", "/nothing", b"")?.status != 404 {
        bail!("/nothing is not 404");
    }
    running.still_runs()
}

/// HTTP/1.1, TLS and HTTP/2 by Go's client on the host; then the server is told to end with 7.
fn web(mode: &Mode, version: GoVersion) -> Result<()> {
    let server = build::go("programs/httpserve", version, Variant::Plain)?;
    let client = build::go("programs/httpserve", build::NEWEST, Variant::Plain)?;
    let mut vm = Vm::of(&server, mode);
    let (plain, secure) = (vm.listen(80)?, vm.listen(443)?);
    let mut running = vm.args(["-serve", "-http", &plain, "-https", &secure]).start()?;
    running.get_until_ready(80, "/")?;
    drive(&client, &running, "-https")?;
    running.get(80, "/exit?code=7")?;
    running.expect(Exit::Code(7), LIMIT)
}

fn drive(client: &Path, running: &Running, secure: &str) -> Result<()> {
    let mut command = Command::new(client);
    command
        .args(["-client", "-http", &format!("127.0.0.1:{}", running.port(80)?)])
        .args([secure, &format!("127.0.0.1:{}", running.port(443)?)]);
    build::succeed(command).map_err(|error| running.explain(error))
}

/// A thousand connections open at the same time, each answered twice.
fn thousand(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/httpserve", build::NEWEST, Variant::Plain)?;
    let mut vm = Vm::of(&elf, mode).memory("256M");
    let (plain, secure) = (vm.listen(80)?, vm.listen(443)?);
    let mut running = vm.args(["-serve", "-http", &plain, "-https", &secure]).start()?;
    running.get_until_ready(80, "/")?;
    let port = running.port(80)?;
    let mut connections = Vec::new();
    for n in 0..1000 {
        let connection = KeepAlive::open(port, Duration::from_secs(60))
            .and_then(|mut connection| {
                connection.request("GET", "/protocol", b"").map(|_| connection)
            })
            .with_context(|| format!("connection {n}"))
            .map_err(|error| running.explain(error))?;
        connections.push(connection);
    }
    for (n, connection) in connections.iter_mut().enumerate() {
        let reply = connection
            .request("GET", &format!("/bytes?n={n}"), b"")
            .with_context(|| format!("connection {n}, second request"))
            .map_err(|error| running.explain(error))?;
        if reply.body.len() != n {
            bail!("connection {n}: {} bytes", reply.body.len());
        }
    }
    running.get(80, "/exit?code=0")?;
    running.expect(Exit::Code(0), LIMIT)
}

fn udp(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/udp", build::NEWEST, Variant::Plain)?;
    let mut vm = Vm::of(&elf, mode);
    let address = vm.listen_udp(5000)?;
    let mut running = vm.args(["-serve", &address]).start()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", running.port(5000)?))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut buffer = [0_u8; 2048];
    let mut answered = false;
    for _ in 0..90 {
        running.still_runs()?;
        // Natively nobody may listen yet: the error of the previous datagram comes here.
        let sent = socket.send(b"first");
        if sent.is_ok() && socket.recv(&mut buffer).is_ok() {
            answered = true;
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if !answered {
        return Err(running.explain(anyhow::anyhow!("no datagram came back")));
    }
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    for size in [1_usize, 100, 1400] {
        let want = vec![b'u'; size];
        socket.send(&want)?;
        // Echoes of earlier attempts may still come.
        let mut came_back = false;
        for _ in 0..100 {
            let count = socket.recv(&mut buffer)?;
            if buffer.get(..count) == Some(want.as_slice()) {
                came_back = true;
                break;
            }
        }
        if !came_back {
            bail!("the datagram of {size} bytes did not come back");
        }
    }
    socket.send(b"end")?;
    running.expect(Exit::Code(0), LIMIT)
}
