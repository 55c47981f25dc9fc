//! Into the program and back.
//!
//! In: [`enter`] makes the host call RT_SIGRETURN with a frame that holds the program's registers. Back:
//! whatever stops the program is a signal. Its handler puts the thread back into the kernel's world (FS
//! base, system calls allowed) and returns from `enter`, leaving the frame for [`run`] to read.
//!
//! [`TIMER`] and [`INTERRUPT`] are blocked in kernel code: RT_SIGRETURN opens them with the program's
//! first instruction, and the handlers' masks close them. So the ways in and out are never interrupted.

use super::processor::{self, ALLOW, BLOCK, BLOCK_BYTES, Processor, STACK_OFFSET};
use super::vector_state::{self, SOFTWARE_WORDS, VectorState};
use super::{clock, panic};
use crate::types::Registers;
use core::arch::{asm, naked_asm};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use core::time::Duration;
use std::ffi::{c_int, c_ulong, c_void};
use std::io;

/// The timer's signal.
pub(super) const TIMER: c_int = libc::SIGALRM;
/// The signal of other threads.
pub(super) const INTERRUPT: c_int = libc::SIGUSR1;
/// Raised once on each processor, see [`take_template`].
const TEMPLATE_SIGNAL: c_int = libc::SIGUSR2;
/// What the program's own instructions raise.
const EXCEPTIONS: [c_int; 6] =
    [libc::SIGSYS, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];

/// `ucontext_t` as Linux has it (`asm/ucontext.h`, `asm/sigcontext.h`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct HostContext {
    flags: u64,
    link: u64,
    stack: [u64; 3],
    r8_to_r15: [u64; 8],
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    selectors: u64,
    error_code: u64,
    vector: u64,
    old_mask: u64,
    fault_address: u64,
    vector_state: *mut u8,
    reserved: [u64; 8],
    mask: u64,
}

/// The start of `siginfo_t` as SIGSYS has it.
#[repr(C)]
pub(super) struct Information {
    signal: c_int,
    error: c_int,
    code: c_int,
    padding: c_int,
    address: u64,
    call: c_int,
    architecture: u32,
}

/// Why the program stopped.
pub(super) struct Stop {
    pub(super) signal: c_int,
    /// Another process has sent the signal.
    pub(super) was_sent: bool,
    /// SIGSYS: which kind of system call it was (`AUDIT_ARCH_`).
    pub(super) architecture: u32,
    /// Of an exception.
    pub(super) vector: u64,
    pub(super) error_code: u64,
    pub(super) fault_address: u64,
}

/// Runs the program with these registers until a signal stops it.
pub(super) fn run(registers: &mut Registers, vector: &mut VectorState) -> Stop {
    let cpu = processor::this();
    // SAFETY: this thread's own, and no other reference to it exists.
    let context = unsafe { &mut *cpu.context.get() };
    put_registers(context, registers);
    cpu.program_fs.set(registers.fs_base);
    cpu.program_gs.set(registers.gs_base);
    put_vector(cpu, &vector.area);
    // SAFETY: the context is complete: made by Linux, with a program's registers and a valid state.
    unsafe { enter(cpu) };
    // SAFETY: the handler has just stored both; its stack is not used until the next signal, and
    // all of those are blocked or errors of the kernel.
    let (interrupted, information) = unsafe { (&*cpu.interrupted.get(), &*cpu.information.get()) };
    take_registers(registers, interrupted);
    registers.fs_base = cpu.program_fs.get();
    registers.gs_base = cpu.program_gs.get();
    // SAFETY: Linux stored as many bytes there, in each of its frames.
    let state =
        unsafe { core::slice::from_raw_parts(interrupted.vector_state, vector_state::bytes()) };
    vector.area.copy_from_slice(state);
    Stop {
        signal: cpu.signal.get(),
        // Linux's own have positive codes (siginfo.h).
        was_sent: information.code <= 0,
        architecture: information.architecture,
        vector: interrupted.vector,
        error_code: interrupted.error_code,
        fault_address: interrupted.fault_address,
    }
}

fn put_vector(cpu: &Processor, area: &[u8]) {
    // SAFETY: this thread's own, and no other reference to it exists.
    let vector = unsafe { &mut (*cpu.vector.get()).0 };
    // Between the two, Linux's own words stay.
    let after = SOFTWARE_WORDS + 48;
    vector[..SOFTWARE_WORDS].copy_from_slice(&area[..SOFTWARE_WORDS]);
    vector[after..area.len()].copy_from_slice(&area[after..]);
}

fn put_registers(context: &mut HostContext, from: &Registers) {
    context.r8_to_r15 =
        [from.r8, from.r9, from.r10, from.r11, from.r12, from.r13, from.r14, from.r15];
    (context.rdi, context.rsi, context.rbp, context.rbx) = (from.rdi, from.rsi, from.rbp, from.rbx);
    (context.rdx, context.rax, context.rcx, context.rsp) = (from.rdx, from.rax, from.rcx, from.rsp);
    (context.rip, context.rflags) = (from.rip, from.rflags);
}

fn take_registers(into: &mut Registers, context: &HostContext) {
    [into.r8, into.r9, into.r10, into.r11, into.r12, into.r13, into.r14, into.r15] =
        context.r8_to_r15;
    (into.rdi, into.rsi, into.rbp, into.rbx) = (context.rdi, context.rsi, context.rbp, context.rbx);
    (into.rdx, into.rax, into.rcx, into.rsp) = (context.rdx, context.rax, context.rcx, context.rsp);
    (into.rip, into.rflags) = (context.rip, context.rflags);
}

/// Enters the program; returns when a signal has stopped it.
///
/// # Safety
/// `cpu` is this thread's block, and its context is one that Linux accepts.
#[unsafe(naked)]
#[unsafe(link_section = ".text.eggos_enter")]
unsafe extern "C" fn enter(cpu: &Processor) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi + {kernel_stack}], rsp",
        "lea rsp, [rdi + {context}]",
        "mov rax, [rdi + {program_gs}]",
        "wrgsbase rax",
        "mov rax, [rdi + {program_fs}]",
        "wrfsbase rax",
        "mov eax, {sigreturn}",
        "mov byte ptr [rdi + {selector}], {block}",
        // The dispatch lets this one pass, see `ENTER_BYTES`.
        "syscall",
        "ud2",
        kernel_stack = const processor::KERNEL_STACK,
        context = const processor::CONTEXT,
        program_gs = const processor::PROGRAM_GS,
        program_fs = const processor::PROGRAM_FS,
        selector = const processor::SELECTOR,
        block = const BLOCK,
        sigreturn = const libc::SYS_rt_sigreturn,
    )
}

/// At most so long is [`enter`]; what follows it in memory makes no system calls.
const ENTER_BYTES: usize = 96;

/// Goes on where [`enter`] was called.
#[unsafe(naked)]
unsafe extern "C" fn leave(cpu: &Processor) -> ! {
    naked_asm!(
        "mov rsp, [rdi + {kernel_stack}]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        kernel_stack = const processor::KERNEL_STACK,
    )
}

/// The handler of every signal, called by Linux with (signal, information, context) on the signal
/// stack of the processor.
#[unsafe(naked)]
unsafe extern "C" fn handler(signal: c_int, information: *const Information, context: *mut c_void) {
    naked_asm!(
        "mov rcx, rsp",
        "and rcx, {block_mask}",
        "rdfsbase r8",
        "rdgsbase r9",
        "mov rax, [rcx + {kernel_fs}]",
        "wrfsbase rax",
        "movzx eax, byte ptr [rcx + {selector}]",
        "mov byte ptr [rcx + {selector}], {allow}",
        // The seventh argument; the stack is then aligned as for a call.
        "push rax",
        "call {handle}",
        "pop rax",
        "ret",
        block_mask = const -(BLOCK_BYTES as i64),
        kernel_fs = const processor::KERNEL_FS,
        selector = const processor::SELECTOR,
        allow = const ALLOW,
        handle = sym handle,
    )
}

/// The rest of the handler. Comes back only when kernel code was interrupted.
unsafe extern "C" fn handle(
    signal: c_int,
    information: *const Information,
    context: *const HostContext,
    cpu: &'static Processor,
    fs: u64,
    gs: u64,
    selector: u8,
) {
    if selector != BLOCK {
        return in_kernel(signal, context);
    }
    cpu.signal.set(signal);
    cpu.information.set(information);
    cpu.interrupted.set(context);
    cpu.program_fs.set(fs);
    cpu.program_gs.set(gs);
    // SAFETY: with that selector, `enter` was left for the program and not yet returned to.
    unsafe { leave(cpu) }
}

/// A signal in kernel code. Interrupts are looked for anyway; an exception is the kernel's failure.
fn in_kernel(signal: c_int, context: *const HostContext) {
    if EXCEPTIONS.contains(&signal) {
        // SAFETY: Linux made it for this handler.
        let context = unsafe { &*context };
        panic::end(format_args!(
            "signal {signal} in the kernel at {:#x}: vector {}, address {:#x}",
            context.rip, context.vector, context.fault_address
        ));
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn signals(list: &[c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call initialises the set; the numbers are valid.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in list {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// Handles what stops the program.
pub(super) fn install_handlers() -> io::Result<()> {
    let handler: unsafe extern "C" fn(c_int, *const Information, *mut c_void) = handler;
    for signal in EXCEPTIONS.into_iter().chain([TIMER, INTERRUPT]) {
        set_handler(signal, handler as usize)?;
    }
    Ok(())
}

fn set_handler(signal: c_int, handler: usize) -> io::Result<()> {
    let action = libc::sigaction {
        sa_sigaction: handler,
        sa_mask: signals(&[TIMER, INTERRUPT]),
        // The handler is left without return, after which the next one must not be blocked.
        sa_flags: libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER,
        sa_restorer: None,
    };
    // SAFETY: the handlers have the signature that SA_SIGINFO asks for, and do what they say.
    check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })
}

/// Does `work` with every signal of the program's blocked, as it then is in threads that `work` starts:
/// what is sent to the process comes to a processor, whose handlers know what to do.
pub(super) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    let set = signals(&EXCEPTIONS);
    // SAFETY: a valid set; it cannot fail.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    let result = work();
    // SAFETY: as above. None of them was blocked before.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut()) };
    result
}

/// Prepares this thread: its signal stack, mask, timer, and the dispatch of system calls.
pub(super) fn start_processor(block: *const Processor) -> io::Result<()> {
    const HWCAP2_FSGSBASE: u64 = 2;
    // SAFETY: only reads the process's auxiliary vector.
    if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE == 0 {
        return Err(io::Error::other("this needs the FSGSBASE instructions (Linux 5.9)"));
    }
    let cpu = processor::this();
    let fs: u64;
    // SAFETY: the instruction was asked for.
    unsafe { asm!("rdfsbase {}", out(reg) fs, options(nostack, preserves_flags)) };
    cpu.kernel_fs.set(fs);
    let stack = libc::stack_t {
        ss_sp: block.cast_mut().cast::<c_void>().wrapping_byte_add(STACK_OFFSET),
        ss_flags: 0,
        ss_size: BLOCK_BYTES - STACK_OFFSET,
    };
    // SAFETY: that part of the block is for nothing else.
    check(unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) })?;
    take_template(cpu)?;
    create_timer(cpu)?;
    dispatch_system_calls(cpu)
}

/// Where [`remember`] puts what it gets.
static TEMPLATE: AtomicPtr<HostContext> = AtomicPtr::new(ptr::null_mut());

/// Has Linux make a signal frame, from which the later ones are made.
fn take_template(cpu: &Processor) -> io::Result<()> {
    let remember: extern "C" fn(c_int, *const Information, *mut HostContext) = remember;
    let mask = signals(&[TIMER, INTERRUPT]);
    set_handler(TEMPLATE_SIGNAL, remember as usize)?;
    // SAFETY: the signal is handled, at once.
    check(unsafe { libc::raise(TEMPLATE_SIGNAL) })?;
    // SAFETY: a valid set. From here on kernel code has these blocked.
    check(unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, ptr::null_mut()) })?;
    let template = TEMPLATE.swap(ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: the frame still lies on the signal stack, which nothing has used since.
    let (context, legacy) = unsafe {
        let context = *template;
        (context, core::slice::from_raw_parts(context.vector_state, 512))
    };
    let problem = || io::Error::other("this needs a processor with XSAVE");
    vector_state::learn(legacy).ok_or_else(problem)?;
    // SAFETY: this thread's own, and no other reference to it exists.
    let (own, vector) = unsafe { (&mut *cpu.context.get(), &mut (*cpu.vector.get()).0) };
    // The state, and the second magic word behind it.
    let bytes = vector_state::bytes() + 4;
    if bytes > vector.len() {
        return Err(io::Error::other("the processor's vector registers are larger than expected"));
    }
    // SAFETY: Linux stored as many bytes there.
    vector[..bytes]
        .copy_from_slice(unsafe { core::slice::from_raw_parts(context.vector_state, bytes) });
    // No signal is blocked in the program.
    *own = HostContext { vector_state: vector.as_mut_ptr(), mask: 0, ..context };
    Ok(())
}

/// Handles the one signal of [`take_template`].
extern "C" fn remember(_: c_int, _: *const Information, context: *mut HostContext) {
    TEMPLATE.store(context, Ordering::Release);
}

fn create_timer(cpu: &Processor) -> io::Result<()> {
    let mut event = MaybeUninit::<libc::sigevent>::zeroed();
    let mut timer = ptr::null_mut();
    // SAFETY: all fields may be 0, and these are set; Linux fills in the timer.
    unsafe {
        let event = event.assume_init_mut();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = TIMER;
        event.sigev_notify_thread_id = libc::gettid();
        check(libc::timer_create(libc::CLOCK_MONOTONIC, event, &raw mut timer))?;
    }
    cpu.timer.set(timer);
    Ok(())
}

/// Makes this processor's timer fire once, after `left`.
pub(super) fn set_timer(left: Duration) -> io::Result<()> {
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let spec = libc::itimerspec { it_interval: zero, it_value: timespec(left) };
    let timer = processor::this().timer.get();
    // SAFETY: the timer was created and is never deleted.
    check(unsafe { libc::timer_settime(timer, 0, &raw const spec, ptr::null_mut()) })
}

fn timespec(duration: Duration) -> libc::timespec {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    libc::timespec { tv_sec: seconds, tv_nsec: i64::from(duration.subsec_nanos()) }
}

/// See prctl(2), PR_SET_SYSCALL_USER_DISPATCH.
fn dispatch_system_calls(cpu: &Processor) -> io::Result<()> {
    const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
    const PR_SYS_DISPATCH_ON: c_ulong = 1;
    let allowed: unsafe extern "C" fn(&Processor) = enter;
    let selector = cpu.selector.as_ptr();
    // SAFETY: the selector lives as long as the thread, and now allows all.
    let result = unsafe {
        libc::prctl(
            PR_SET_SYSCALL_USER_DISPATCH,
            PR_SYS_DISPATCH_ON,
            allowed as usize,
            ENTER_BYTES,
            selector,
        )
    };
    check(result).map_err(|error| {
        io::Error::other(format!("this needs Syscall User Dispatch (Linux 5.11): {error}"))
    })
}

/// membarrier(2).
const MEMBARRIER_PRIVATE_EXPEDITED: c_int = 1 << 3;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;

/// Has Linux prepare for [`barrier`].
pub(super) fn allow_barriers() -> io::Result<()> {
    // SAFETY: changes nothing but that.
    let result =
        unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns when every running thread of the process has executed a memory barrier.
pub(super) fn barrier() {
    // SAFETY: orders memory accesses, no more.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_PRIVATE_EXPEDITED, 0, 0) };
}

/// Waits for one of the processor's signals, at most for `limit`.
pub(super) fn wait_for_interrupt(limit: Option<Duration>) {
    let set = signals(&[TIMER, INTERRUPT]);
    let limit = limit.map(timespec);
    let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: a valid set, and a valid time or none. An error means that none has come.
    let signal = unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), limit) };
    if signal == TIMER {
        clock::timer_fired();
    }
}
