//! Real programs of the Go ecosystem, unmodified, each driven by a real client on the host.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build::{self, Variant};
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Vm};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("module/gin".into(), Set::Core, gin),
        Test::new("module/caddy".into(), Set::Core, caddy),
        Test::new("module/nats".into(), Set::Core, nats),
    ]
}

fn gin(mode: &Mode) -> Result<()> {
    let elf = build::go("modules/gin", build::NEWEST, Variant::Plain)?;
    let mut vm = Vm::of(&elf, mode).memory("256M");
    let address = vm.listen(80)?;
    let mut running = vm.args([&address]).start()?;
    running.get_until_ready(80, "/")?;
    for n in 0..50 {
        let reply = running.get(80, &format!("/hello/number{n}"))?;
        if reply != format!("{{\"hello\":\"number{n}\"}}") {
            bail!("/hello/number{n}: {reply}");
        }
    }
    let reply = running.ask(80, "POST", "/echo", br#"{"a":[1,2,3]}"#)?;
    if reply != r#"{"a":[1,2,3]}"# {
        bail!("/echo: {reply}");
    }
    running.still_runs()
}

/// Serves files, and answers `/api/*` by asking another site of its own.
fn caddy(mode: &Mode) -> Result<()> {
    let elf = build::go("modules/caddy", build::NEWEST, Variant::Plain)?;
    let site = build::root().join("go/modules/caddy/site");
    let mut vm =
        Vm::of(&elf, mode).memory("512M").env("HOME", "/tmp").env("XDG_DATA_HOME", "/tmp/caddy");
    let address = vm.listen(80)?;
    for name in ["index.html", "style.css"] {
        vm = vm.file(&site.join(name), &format!("/site/{name}"));
    }
    let root = if vm.is_native() { site.display().to_string() } else { "/site".to_owned() };
    vm = vm.env("SITE_ADDRESS", &format!("http://{address}")).env("SITE_ROOT", &root);
    vm = vm.file(&build::root().join("go/modules/caddy/Caddyfile"), "/Caddyfile");
    let config = vm.path("/Caddyfile");
    let mut running = vm.args(["run", "--config", &config, "--adapter", "caddyfile"]).start()?;
    let (reply, _) = running.get_until_ready(80, "/")?;
    let index = fs::read(site.join("index.html")).context("read index.html")?;
    if reply.status != 200 || reply.body != index {
        bail!("/: status {}, {} bytes of {}", reply.status, reply.body.len(), index.len());
    }
    let style = fs::read_to_string(site.join("style.css"))?;
    if running.get(80, "/style.css")? != style {
        bail!("/style.css differs");
    }
    for n in 0..20 {
        let reply = running.get(80, &format!("/api/{n}"))?;
        if reply != format!("behind the proxy: /api/{n}\n") {
            bail!("/api/{n}: {reply}");
        }
    }
    running.still_runs()
}

fn nats(mode: &Mode) -> Result<()> {
    let elf = build::go("modules/nats", build::NEWEST, Variant::Plain)?;
    let client = build::go("modules/nats/client", build::NEWEST, Variant::Plain)?;
    let mut vm = Vm::of(&elf, mode).memory("256M");
    let address = vm.listen(4222)?;
    let (host, port) = address.rsplit_once(':').context("address")?;
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let mut running = vm.args(["-a", host, "-p", port]).start()?;
    let mut command = Command::new(client);
    command.arg(format!("nats://127.0.0.1:{}", running.port(4222)?));
    build::succeed(command).map_err(|error| running.explain(error))?;
    running.signal("INT")?;
    // nats-server ends itself with 0 on SIGINT.
    running.expect(Exit::Code(0), Duration::from_secs(60).min(LIMIT))
}
