//! What tests do to the simulated machine, and the scripts they run as programs.

use super::memory;
use super::mmio::MmioWindow;
use super::space::AddressSpace;
use super::user::UserContext;
use crate::types::{Access, PageFault, Registers, Trap};
use base::{CpuId, Instant, PhysAddr, UserAddr};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// A running script.
pub type ScriptFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Sets this thread's machine back to its start: time zero, `frames` frames of memory, the random
/// numbers of `seed`.
pub fn reset(seed: u64, frames: u64) {
    super::cpu::set_count(1);
    super::clock::set(Instant::ZERO);
    super::clock::arm(None);
    super::entropy::set(seed);
    memory::set_limit(frames);
    let _ = super::console::take_output();
    let _ = super::irq::take_pending();
    super::mmio::clear();
    super::pci::clear();
}

/// A device model's load from driver memory by physical address. `false` when no live buffer or
/// ring of this thread holds all the bytes.
#[must_use]
pub fn dma_read(from: PhysAddr, into: &mut [u8]) -> bool {
    super::dma::device_read(from, into)
}

/// A device model's store to driver memory, as [`dma_read`]. Models call it while the driver waits
/// for the device: not while it looks into the same buffer.
#[must_use]
pub fn dma_write(to: PhysAddr, bytes: &[u8]) -> bool {
    super::dma::device_write(to, bytes)
}

/// Makes `window` what `MmioWindow::map` finds at `physical`.
pub fn place(physical: PhysAddr, window: MmioWindow) {
    super::mmio::place(physical, window);
}

/// Plugs in a PCI function whose configuration space is `window`.
pub fn plug(address: super::pci::Address, window: MmioWindow) {
    super::pci::plug(address, window);
}

/// Types on the keyboard: codes of its set 1.
pub fn type_keys(codes: &[u8]) {
    super::keyboard::type_codes(codes);
}

/// Moves the mouse: bytes of its packets, four each.
pub fn move_mouse(bytes: &[u8]) {
    super::keyboard::move_mouse(bytes);
}

/// Sets the clock.
pub fn set_now(now: Instant) {
    super::clock::set(now);
}

/// Gives the machine so many processors, at most 64; the first one runs.
pub fn set_processors(count: u32) {
    super::cpu::set_count(count);
}

/// From now on code runs on another processor.
pub fn switch_to(cpu: CpuId) {
    super::cpu::switch_to(cpu);
}

/// The processors that were interrupted by others since the last call, as bits.
#[must_use]
pub fn take_kicked() -> u64 {
    super::cpu::take_kicked()
}

/// The deadline that the kernel armed this processor's timer for.
#[must_use]
pub fn armed_timer() -> Option<Instant> {
    super::clock::armed()
}

/// The next random number of the seed.
pub fn random() -> u64 {
    super::entropy::next()
}

/// What was written to the console since the last call.
#[must_use]
pub fn take_console() -> Vec<u8> {
    super::console::take_output()
}

/// Types on the console.
pub fn type_console(bytes: &[u8]) {
    super::console::type_input(bytes);
}

/// The register that a failure of the kernel is told to, once a driver gave one.
#[must_use]
pub fn failure_register() -> Option<MmioWindow> {
    super::power::failure_register()
}

/// Presses the power button.
pub fn press_power_button() {
    super::power::press();
}

/// Raises a device interrupt.
pub fn raise(irq: super::irq::Irq) {
    super::irq::raise(irq);
}

enum Request {
    Syscall(u64, [u64; 6]),
    /// Reach the program's memory; done by `leave` itself when the pages allow it.
    Read(UserAddr, usize),
    Write(UserAddr, Vec<u8>),
}

enum Reply {
    Number(u64),
    Bytes(Vec<u8>),
}

/// What passes between a script and `UserContext::run`.
#[derive(Default)]
pub struct Machine {
    request: Option<Request>,
    reply: Option<Reply>,
    in_syscall: bool,
    threads: VecDeque<ThreadStart>,
}

type ThreadStart = Box<dyn FnOnce(Script) -> ScriptFuture + Send>;

impl Machine {
    pub(super) fn take_thread(&mut self) -> Option<ThreadStart> {
        self.threads.pop_front()
    }

    pub(super) fn enter(&mut self, rax: u64, space: &AddressSpace) {
        if self.in_syscall {
            self.in_syscall = false;
            self.reply = Some(Reply::Number(rax));
        }
        self.touch(space);
    }

    /// Serves a pending memory access. Returns the fault if a page refuses.
    fn touch(&mut self, space: &AddressSpace) -> Option<PageFault> {
        let (fault, access) = match &self.request {
            Some(Request::Read(address, length)) => {
                let mut bytes = vec![0; *length];
                match super::usercopy::copy_from_user(space, &mut bytes, *address) {
                    Ok(()) => {
                        self.reply = Some(Reply::Bytes(bytes));
                        self.request = None;
                        return None;
                    }
                    Err(fault) => (fault, Access::Read),
                }
            }
            Some(Request::Write(address, bytes)) => {
                match super::usercopy::copy_to_user(space, *address, bytes) {
                    Ok(()) => {
                        self.reply = Some(Reply::Number(0));
                        self.request = None;
                        return None;
                    }
                    Err(fault) => (fault, Access::Write),
                }
            }
            _ => return None,
        };
        let present = space.lookup(fault.address).is_some();
        Some(PageFault { address: fault.address, access, present, error_code: 4 })
    }

    pub(super) fn leave(&mut self, registers: &mut Registers, space: &AddressSpace) -> Trap {
        if let Some(fault) = self.touch(space) {
            return Trap::PageFault(fault);
        }
        match self.request.take() {
            Some(Request::Syscall(number, arguments)) => {
                registers.rax = number;
                [registers.rdi, registers.rsi, registers.rdx] =
                    [arguments[0], arguments[1], arguments[2]];
                [registers.r10, registers.r8, registers.r9] =
                    [arguments[3], arguments[4], arguments[5]];
                self.in_syscall = true;
                Trap::Syscall
            }
            _ => Trap::Interrupt,
        }
    }
}

/// The program's side: an async script calls these; each is one or more traps.
#[derive(Clone)]
pub struct Script {
    machine: Arc<Mutex<Machine>>,
}

/// A program made of an async function. When the function returns, the thread makes the system
/// call `exit` (60).
pub fn program<F, S>(start: S) -> UserContext
where
    S: FnOnce(Script) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let machine = Arc::new(Mutex::new(Machine::default()));
    let script = Script { machine: Arc::clone(&machine) };
    let body = start(script.clone());
    let future: ScriptFuture = Box::pin(async move {
        body.await;
        loop {
            script.syscall(60, [0; 6]).await;
        }
    });
    UserContext::of_script(machine, future)
}

pub(super) fn thread(start: ThreadStart) -> (Arc<Mutex<Machine>>, ScriptFuture) {
    let machine = Arc::new(Mutex::new(Machine::default()));
    let script = Script { machine: Arc::clone(&machine) };
    let body = start(script.clone());
    let future: ScriptFuture = Box::pin(async move {
        body.await;
        loop {
            script.syscall(60, [0; 6]).await;
        }
    });
    (machine, future)
}

impl Script {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, request: Request) -> Reply {
        self.machine().request = Some(request);
        poll_fn(|_| match self.machine().reply.take() {
            Some(reply) => Poll::Ready(reply),
            None => Poll::Pending,
        })
        .await
    }

    /// Makes a system call; the result as the register holds it (`-errno` on failure).
    pub async fn syscall(&self, number: u64, arguments: [u64; 6]) -> i64 {
        match self.ask(Request::Syscall(number, arguments)).await {
            Reply::Number(number) => number.cast_signed(),
            Reply::Bytes(_) => unreachable!("a system call answers with a number"),
        }
    }

    /// The next `clone` system call of this thread starts `start` as the new thread.
    pub fn next_thread<F, S>(&self, start: S)
    where
        S: FnOnce(Script) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.machine().threads.push_back(Box::new(move |script| Box::pin(start(script))));
    }

    /// Loads bytes from the program's memory (faulting pages in like any load).
    pub async fn load(&self, address: u64, length: usize) -> Vec<u8> {
        match self.ask(Request::Read(UserAddr(address), length)).await {
            Reply::Bytes(bytes) => bytes,
            Reply::Number(_) => unreachable!("a load answers with bytes"),
        }
    }

    /// Stores bytes to the program's memory.
    pub async fn store(&self, address: u64, bytes: &[u8]) {
        self.ask(Request::Write(UserAddr(address), bytes.to_vec())).await;
    }
}
