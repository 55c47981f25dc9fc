//! One run of one program: in a machine made by `egg run`, or natively on Linux.
//!
//! ```no_run
//! # fn example(mode: vm_tests::vm::Mode) -> anyhow::Result<()> {
//! use std::time::Duration;
//! use vm_tests::{build, process::Exit, vm::Vm};
//! let elf = build::go("programs/httpserve", build::NEWEST, build::Variant::Plain)?;
//! let mut vm = Vm::of(&elf, &mode);
//! let address = vm.listen(80)?;
//! let mut vm = vm.memory("64M").args(["-serve", "-http", &address]).start()?;
//! vm.get_until_ready(80, "/")?;
//! vm.get(80, "/exit?code=7")?;
//! vm.expect(Exit::Code(7), Duration::from_secs(20))
//! # }
//! ```

use std::collections::HashSet;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::http::{self, Reply};
use crate::monitor;
use crate::process::{Exit, Process};

/// A machine may need this long before it answers: TCG on a busy host with two cores is slow.
pub const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// Where programs run.
#[derive(Clone, Debug)]
pub enum Mode {
    /// In a machine, by this `egg`, with these further flags for `egg run`.
    Machine {
        /// The command.
        egg: PathBuf,
        /// Added to every run: `--trace`, `--machine q35` …
        flags: Vec<String>,
    },
    /// On the Linux of the host.
    Native,
}

/// A run that is being described.
#[derive(Debug)]
pub struct Vm {
    mode: Mode,
    elf: PathBuf,
    flags: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    files: Vec<(PathBuf, String)>,
    ports: Vec<Forward>,
}

#[derive(Clone, Copy, Debug)]
struct Forward {
    guest: u16,
    host: u16,
    udp: bool,
}

impl Vm {
    /// A run of the ELF, with the default memory, machine type and no network forwarding.
    pub fn of(elf: &Path, mode: &Mode) -> Self {
        Self {
            mode: mode.clone(),
            elf: elf.to_path_buf(),
            flags: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// True when the program runs on the host's Linux.
    pub fn is_native(&self) -> bool {
        matches!(self.mode, Mode::Native)
    }

    /// Further flags of `egg run`; nothing natively.
    pub fn flags<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, flags: I) -> Self {
        self.flags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// The memory of the machine, `64M`.
    pub fn memory(self, size: &str) -> Self {
        self.flags(["-m", size])
    }

    /// The type of the machine: microvm, q35 or pc.
    pub fn machine(self, kind: &str) -> Self {
        self.flags(["--machine", kind])
    }

    /// Arguments of the program.
    pub fn args<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A variable in the program's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file of the host in the machine's file system. Natively the program must be told the
    /// host's path: see [`Vm::path`].
    pub fn file(mut self, host: &Path, guest: &str) -> Self {
        self.files.push((host.to_path_buf(), guest.to_owned()));
        self
    }

    /// Where the program finds a file given with [`Vm::file`].
    pub fn path(&self, guest: &str) -> String {
        let host = self.files.iter().find(|(_, name)| name == guest).filter(|_| self.is_native());
        host.map_or_else(|| guest.to_owned(), |(host, _)| host.display().to_string())
    }

    /// Forwards a free port of the host to the port of the machine, and returns the address for the
    /// program to listen on: natively that is the host's port itself.
    pub fn listen(&mut self, guest: u16) -> Result<String> {
        self.forward(guest, false)
    }

    /// The same for UDP.
    pub fn listen_udp(&mut self, guest: u16) -> Result<String> {
        self.forward(guest, true)
    }

    fn forward(&mut self, guest: u16, udp: bool) -> Result<String> {
        let host = free_port()?;
        self.ports.push(Forward { guest, host, udp });
        Ok(if self.is_native() { format!("127.0.0.1:{host}") } else { format!(":{guest}") })
    }

    /// Starts it.
    pub fn start(self) -> Result<Running> {
        let command = self.command();
        let started = Instant::now();
        Ok(Running { process: Process::start(command)?, ports: self.ports, started, control: None })
    }

    /// Starts it and waits for exit status 0.
    pub fn run(self, limit: Duration) -> Result<()> {
        self.run_to(Exit::Code(0), limit)
    }

    /// Starts it and waits for this end.
    pub fn run_to(self, exit: Exit, limit: Duration) -> Result<()> {
        self.start()?.expect(exit, limit)
    }

    /// Starts QEMU as `egg run` would, with its command changed, and with a monitor. Its files lie
    /// in the folder, which is made. How it ends is QEMU's: see [`Running::expect_orderly`].
    pub(crate) fn start_qemu(
        mut self,
        folder: &Path,
        change: impl FnOnce(&str) -> String,
    ) -> Result<Running> {
        std::fs::create_dir_all(folder)?;
        self.flags.push("--dry-run".into());
        let output = self.command().env("XDG_CACHE_HOME", folder).output()?;
        if !output.status.success() {
            bail!("egg run --dry-run: {}", String::from_utf8_lossy(&output.stderr));
        }
        // What the kernel says to egg comes on a device of its own: between the letters of what the
        // program says, were it to go to the same place.
        let control = folder.join("control");
        let _ = std::fs::remove_file(&control);
        let line = change(String::from_utf8(output.stdout)?.trim())
            .replace("path=/dev/stderr", &format!("path={}", control.display()));
        let monitor = folder.join(monitor::SOCKET);
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("exec {line} -qmp unix:{},server=on,wait=off", monitor.display()));
        let started = Instant::now();
        let process = Process::start(command)?;
        Ok(Running { process, ports: self.ports, started, control: Some(control) })
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let (egg, flags) = match &self.mode {
            Mode::Native => {
                let mut command = Command::new(&self.elf);
                command
                    .args(&self.args)
                    .env_clear()
                    .env("PATH", "/usr/bin:/bin")
                    .envs(self.env.iter().cloned());
                return command;
            }
            Mode::Machine { egg, flags } => (egg, flags),
        };
        let mut command = Command::new(egg);
        command.arg("run").args(flags).args(&self.flags);
        for Forward { guest, host, udp } in &self.ports {
            let protocol = if *udp { "/udp" } else { "" };
            command.args(["-p", &format!("127.0.0.1:{host}:{guest}{protocol}")]);
        }
        for (name, value) in &self.env {
            command.args(["--env", &format!("{name}={value}")]);
        }
        for (host, guest) in &self.files {
            command.args(["--file", &format!("{}:{guest}", host.display())]);
        }
        command.arg(&self.elf);
        if !self.args.is_empty() {
            command.arg("--").args(&self.args);
        }
        command
    }
}

/// Starts QEMU without `egg`, with a serial port, a device that ends it, and one port of the machine
/// forwarded; `arguments` say the rest.
pub fn qemu<I: IntoIterator<Item = S>, S: Into<OsString>>(
    guest: u16,
    arguments: I,
) -> Result<Running> {
    let host = free_port()?;
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-accel", "tcg"])
        .args(["-cpu", "max,-erms,-fsrm"])
        .args(["-netdev", &format!("user,id=net,hostfwd=tcp:127.0.0.1:{host}-:{guest}")])
        .args(arguments.into_iter().map(Into::into));
    let started = Instant::now();
    let ports = vec![Forward { guest, host, udp: false }];
    Ok(Running { process: Process::start(command)?, ports, started, control: None })
}

/// A port of 127.0.0.1 that nobody listens on and that no other test was given.
fn free_port() -> Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let given = given.get_or_insert_default();
    for _ in 0..1000 {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        if given.insert(port) {
            return Ok(port);
        }
    }
    bail!("no free port")
}

/// A program that runs. It is ended when this is dropped.
#[derive(Debug)]
pub struct Running {
    process: Process,
    ports: Vec<Forward>,
    started: Instant,
    /// Where QEMU writes what the kernel says to egg, of machines of [`Vm::start_qemu`].
    control: Option<PathBuf>,
}

impl Running {
    /// The host's port that leads to a port of the machine.
    pub fn port(&self, guest: u16) -> Result<u16> {
        let found = self.ports.iter().find(|forward| forward.guest == guest);
        found.map(|forward| forward.host).with_context(|| format!("port {guest} is not forwarded"))
    }

    /// Asks until the first reply, whatever its status, and returns it with the time since start.
    pub fn get_until_ready(&mut self, guest: u16, path: &str) -> Result<(Reply, Duration)> {
        let port = self.port(guest)?;
        // A connection made before the machine listens may never be answered: ask anew, each time
        // with more patience.
        let mut patience = Duration::from_millis(200);
        loop {
            let error = match http::request(port, "GET", path, b"", patience) {
                Ok(reply) => return Ok((reply, self.started.elapsed())),
                Err(error) => error,
            };
            self.still_runs()?;
            if self.started.elapsed() > BOOT_LIMIT {
                return Err(self.explain(error.context("no reply")));
            }
            patience = (patience * 3 / 2).min(Duration::from_secs(10));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// One request; the body of a reply with status 200.
    pub fn get(&mut self, guest: u16, path: &str) -> Result<String> {
        self.ask(guest, "GET", path, b"")
    }

    /// One request with a body; the body of a reply with status 200.
    pub fn ask(&mut self, guest: u16, method: &str, path: &str, body: &[u8]) -> Result<String> {
        let port = self.port(guest)?;
        let reply = http::request(port, method, path, body, Duration::from_secs(60))
            .map_err(|error| self.explain(error.context(format!("{method} {path}"))))?;
        if reply.status != 200 {
            bail!("{method} {path}: status {}: {}", reply.status, reply.text());
        }
        Ok(reply.text())
    }

    /// Waits until a line of the program says that input may be sent.
    pub fn wait_for_text(&mut self, text: &str) -> Result<()> {
        self.process.wait_for_text(text, BOOT_LIMIT).map_err(|error| self.explain(error))
    }

    /// Writes to the program's standard input.
    pub fn write(&mut self, text: &str) -> Result<()> {
        self.process.write(text)
    }

    /// Sends a signal to `egg` (natively: to the program).
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// The process id of `egg` (natively: of the program).
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for exactly this end.
    pub fn expect(&mut self, exit: Exit, limit: Duration) -> Result<()> {
        let got = self.process.wait(limit).map_err(|error| self.explain(error))?;
        if got == exit {
            return Ok(());
        }
        Err(self.explain(anyhow::anyhow!("ended with {got:?} instead of {exit:?}")))
    }

    /// For a machine of `Vm::start_qemu`: waits until the kernel ends it in order, having said this
    /// of the program's end (`exit 0`).
    pub fn expect_orderly(&mut self, end: &str, limit: Duration) -> Result<()> {
        /// QEMU's status then.
        const ORDERLY: Exit = Exit::Code(33);
        self.expect(ORDERLY, limit)?;
        if self.output().contains(&format!("{end}\n")) {
            return Ok(());
        }
        Err(self.explain(anyhow::anyhow!("not {end:?}")))
    }

    /// How it ended.
    pub fn wait(&mut self, limit: Duration) -> Result<Exit> {
        self.process.wait(limit).map_err(|error| self.explain(error))
    }

    /// An error if it has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.process.ended()? {
            None => Ok(()),
            Some(exit) => Err(self.explain(anyhow::anyhow!("ended with {exit:?}"))),
        }
    }

    /// Everything it has printed; behind it what the kernel said to egg, when that has a file of its own.
    pub fn output(&self) -> String {
        let mut output = self.process.output();
        if let Some(control) = &self.control {
            // QEMU makes the file; a kernel may say anything.
            let said = std::fs::read(control).unwrap_or_default();
            output.push_str(&String::from_utf8_lossy(&said));
        }
        output
    }

    /// Adds the end of what the program printed to an error.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default();
        anyhow::anyhow!("{error:#}\n--- its last output\n{}\n---", tail.join("\n"))
    }
}
