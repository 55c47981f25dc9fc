//! A processor: a host thread with a signal stack of its own, at whose start lies what belongs to it.
//! The signal handler finds that by its stack pointer, before it knows anything else.

use super::trap::{self, HostContext};
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::io;
use std::sync::mpsc;

/// Size and alignment of a processor's block and stack.
pub(super) const BLOCK_BYTES: usize = 1 << 18;
/// Room for the vector state that goes into the program's registers.
const VECTOR_BYTES: usize = 1 << 14;
/// At most so many are started, as on bare metal.
const MAX_PROCESSORS: usize = base::CpuId::COUNT_MAX;
/// `selector`: system calls of this thread go to Linux.
pub(super) const ALLOW: u8 = 0;
/// `selector`: system calls of this thread become SIGSYS.
pub(super) const BLOCK: u8 = 1;

/// The state of one processor. Only its own thread touches it.
#[repr(C, align(64))]
pub(super) struct Processor {
    /// Where [`trap::enter`] left the kernel's stack.
    pub(super) kernel_stack: Cell<u64>,
    /// The thread pointer of the kernel's thread.
    pub(super) kernel_fs: Cell<u64>,
    /// The program's, while it runs and when it has just stopped.
    pub(super) program_fs: Cell<u64>,
    pub(super) program_gs: Cell<u64>,
    /// What Syscall User Dispatch looks at.
    pub(super) selector: Cell<u8>,
    pub(super) id: Cell<u32>,
    /// The signal that stopped the program.
    pub(super) signal: Cell<i32>,
    /// Its `siginfo_t`, on the signal stack: valid until the program runs again.
    pub(super) information: Cell<*const trap::Information>,
    /// What it interrupted, likewise.
    pub(super) interrupted: Cell<*const HostContext>,
    /// The armed deadline in nanoseconds, `u64::MAX`: none.
    pub(super) armed: Cell<u64>,
    /// When Linux's timer fires, which may be earlier.
    pub(super) timer_fires: Cell<u64>,
    pub(super) timer: Cell<libc::timer_t>,
    /// What RT_SIGRETURN restores; made once from what Linux gave, then changed for each run.
    pub(super) context: UnsafeCell<HostContext>,
    pub(super) vector: UnsafeCell<Vector>,
}

/// Vector state for [`Processor::context`].
#[repr(C, align(64))]
pub(super) struct Vector(pub(super) [u8; VECTOR_BYTES]);

/// Offsets that the assembly uses.
pub(super) const KERNEL_STACK: usize = offset_of!(Processor, kernel_stack);
pub(super) const KERNEL_FS: usize = offset_of!(Processor, kernel_fs);
pub(super) const PROGRAM_FS: usize = offset_of!(Processor, program_fs);
pub(super) const PROGRAM_GS: usize = offset_of!(Processor, program_gs);
pub(super) const SELECTOR: usize = offset_of!(Processor, selector);
pub(super) const CONTEXT: usize = offset_of!(Processor, context);

thread_local! {
    static THIS: Cell<*const Processor> = const { Cell::new(ptr::null()) };
}
/// The thread ids of the processors; 0 before one has started.
static THREADS: [AtomicI32; MAX_PROCESSORS] = [const { AtomicI32::new(0) }; MAX_PROCESSORS];
static COUNT: AtomicU32 = AtomicU32::new(1);

/// The processor that runs this.
pub(super) fn this() -> &'static Processor {
    let block = THIS.get();
    assert!(!block.is_null(), "this thread is no processor");
    // SAFETY: blocks live forever, and only their own thread refers to them.
    unsafe { &*block }
}

/// Makes this thread a processor. One after the other.
pub(super) fn start(id: u32) -> io::Result<()> {
    let block = allocate()?;
    THIS.set(block);
    let cpu = this();
    cpu.id.set(id);
    cpu.armed.set(u64::MAX);
    cpu.timer_fires.set(u64::MAX);
    trap::start_processor(block)?;
    if let Some(thread) = THREADS.get(id as usize) {
        // SAFETY: asks for a number.
        thread.store(unsafe { libc::gettid() }, Ordering::Release);
    }
    Ok(())
}

/// Starts processors until `wanted` are up, this one included, and lets them run `main`. Returns how
/// many are up. Once.
pub fn start_others(wanted: u32, main: fn() -> !) -> u32 {
    let wanted = wanted.min(MAX_PROCESSORS as u32);
    let up = (1..wanted).find(|&id| start_one(id, main).is_err()).unwrap_or(wanted.max(1));
    COUNT.store(up, Ordering::Release);
    up
}

/// Starts one; waits until it is up.
fn start_one(id: u32, main: fn() -> !) -> io::Result<()> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let begin = move || {
        let started = start(id);
        let is_up = started.is_ok();
        // The other end waits for it.
        let _ = sender.send(started);
        if is_up {
            main()
        }
    };
    std::thread::Builder::new().name(format!("processor {id}")).spawn(begin)?;
    receiver.recv().map_err(io::Error::other)?
}

/// How many are up.
pub(super) fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// Zeroed memory for a block and its stack, aligned to its size, with a page between the two that
/// nobody may touch.
fn allocate() -> io::Result<*const Processor> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, where Linux finds room.
    let room = unsafe { libc::mmap(ptr::null_mut(), 2 * BLOCK_BYTES, protection, flags, -1, 0) };
    if room == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let block = room.map_addr(|address| address.next_multiple_of(BLOCK_BYTES));
    // SAFETY: a page of the new mapping that nothing uses.
    let guarded =
        unsafe { libc::mprotect(block.byte_add(STACK_OFFSET - 4096), 4096, libc::PROT_NONE) };
    if guarded != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(block.cast())
}

/// Where the signal stack begins in the block.
pub(super) const STACK_OFFSET: usize = (size_of::<Processor>() + 4096).next_multiple_of(4096);

/// Interrupts a processor: it leaves the program, or its wait.
pub(super) fn interrupt(id: u32) {
    let thread = THREADS.get(id as usize).map_or(0, |thread| thread.load(Ordering::Acquire));
    if thread != 0 {
        // SAFETY: sends a signal that the thread handles, or has blocked, to a thread of ours.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, trap::INTERRUPT) };
    }
}
