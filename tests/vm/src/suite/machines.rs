//! Machine types and memory sizes.

use std::time::Duration;

use anyhow::Result;

use crate::build::{self, Variant};
use crate::http::KeepAlive;
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Running, Vm};

const MIB: u64 = 1 << 20;

/// (size, MiB, MiB to write and read, set). 3 to 5 GiB lie around the hole below 4 GiB of each type.
const SIZES: &[(&str, u64, u64, Set)] = &[
    ("12M", 12, 0, Set::Core),
    ("16M", 16, 2, Set::Core),
    ("24M", 24, 8, Set::All),
    ("32M", 32, 16, Set::All),
    ("64M", 64, 40, Set::Core),
    ("128M", 128, 100, Set::All),
    ("512M", 512, 450, Set::All),
    ("1G", 1024, 900, Set::All),
    ("2G", 2048, 1900, Set::All),
    ("3G", 3072, 2900, Set::All),
    ("3584M", 3584, 3400, Set::All),
    ("4G", 4096, 3900, Set::All),
    ("5G", 5120, 4800, Set::All),
    ("6G", 6144, 5800, Set::Core),
    // More than most machines that test have: not all of it is touched.
    ("64G", 65536, 2048, Set::Core),
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for kind in ["microvm", "q35", "pc"] {
        for version in build::CORE {
            tests.push(
                Test::new(format!("machine/{kind}/{version}"), Set::Core, move |mode| {
                    let elf = build::go("programs/httpserve", version, Variant::Plain)?;
                    let mut vm = Vm::of(&elf, mode).machine(kind);
                    let (plain, secure) = (vm.listen(80)?, vm.listen(443)?);
                    let mut running =
                        vm.args(["-serve", "-http", &plain, "-https", &secure]).start()?;
                    running.get_until_ready(80, "/")?;
                    running.get(80, "/bytes?n=1000000")?;
                    running.get(80, "/exit?code=3")?;
                    running.expect(Exit::Code(3), LIMIT)
                })
                .with_own_machine(),
            );
        }
        for size in ["3G", "4G", "6G"] {
            tests.push(
                Test::new(format!("memory/{kind}/{size}"), Set::All, move |mode| {
                    memory(mode, Some(kind), size)
                })
                .with_own_machine(),
            );
        }
    }
    for (size, _, _, set) in SIZES {
        let run = move |mode: &Mode| memory(mode, None, size);
        tests.push(Test::new(format!("memory/{size}"), *set, run).in_machine());
    }
    tests.push(Test::new("memory/server/16M".into(), Set::Core, small_server).in_machine());
    let plain = Test::new("memory/server/16M/plain".into(), Set::Core, small_plain_server);
    tests.push(plain.in_machine());
    tests.push(Test::new("memory/server/24M".into(), Set::Core, roomier_plain_server).in_machine());
    tests
}

fn memory(mode: &Mode, kind: Option<&str>, size: &str) -> Result<()> {
    let elf = build::go("programs/memory", build::NEWEST, Variant::Stripped)?;
    let mut vm = Vm::of(&elf, mode).memory(size);
    if let Some(kind) = kind {
        vm = vm.machine(kind);
    }
    let found = SIZES.iter().find(|row| row.0 == size);
    let (total, touched) = found.map_or((0, 0), |row| (row.1 * MIB, row.2 * MIB));
    // What the kernel and its tables take may be missing from the total, not more.
    let least = total - total / 20 - 4 * MIB;
    vm.args([
        "-least",
        &least.to_string(),
        "-most",
        &total.to_string(),
        "-touch",
        &touched.to_string(),
    ])
    .run(LIMIT)
}

/// The example server in 16 MiB answers two thousand requests. The image lies in that memory too, so
/// it is built without debug information.
fn small_server(mode: &Mode) -> Result<()> {
    let mut running = server(mode, Variant::Stripped, "16M")?;
    let mut connection = KeepAlive::open(running.port(80)?, Duration::from_secs(30))?;
    for _ in 0..2000 {
        connection.request("GET", "/", b"").map_err(|error| running.explain(error))?;
    }
    running.still_runs()
}

/// What people build, a connection for each request, so that closed ones pile up: the image takes
/// half of the 16 MiB.
fn small_plain_server(mode: &Mode) -> Result<()> {
    many_connections(mode, "16M")
}

fn roomier_plain_server(mode: &Mode) -> Result<()> {
    many_connections(mode, "24M")
}

fn many_connections(mode: &Mode, memory: &str) -> Result<()> {
    let mut running = server(mode, Variant::Plain, memory)?;
    for _ in 0..3000 {
        running.get(80, "/")?;
    }
    running.still_runs()
}

fn server(mode: &Mode, variant: Variant, memory: &str) -> Result<Running> {
    let elf = build::go("examples/hello", build::NEWEST, variant)?;
    let mut vm = Vm::of(&elf, mode).memory(memory);
    let address = vm.listen(80)?;
    let mut running = vm.args(["-listen", &address]).start()?;
    running.get_until_ready(80, "/")?;
    Ok(running)
}
