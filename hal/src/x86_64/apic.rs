//! The local APIC: acknowledging interrupts, messages to other processors, and its one-shot timer.

use super::features::{self, Feature};
use super::instructions::{read_msr, write_msr};
use super::{paging, percpu, presence};
use core::ptr;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicPtr, AtomicU64, fence};

pub(super) const TIMER_VECTOR: u8 = 0xef;
/// One processor wants another to look at what there is to do.
const KICK_VECTOR: u8 = 0xee;
const ERROR_VECTOR: u8 = 0xfe;
pub(super) const SPURIOUS_VECTOR: u8 = 0xff;

const IA32_APIC_BASE: u32 = 0x1b;
const IA32_TSC_DEADLINE: u32 = 0x6e0;
const X2APIC_BASE: u32 = 0x800;

/// Registers, as offsets in the xAPIC page (Intel SDM volume 3, table 11-1).
#[derive(Clone, Copy)]
#[repr(u32)]
enum Register {
    Id = 0x20,
    TaskPriority = 0x80,
    EndOfInterrupt = 0xb0,
    Spurious = 0xf0,
    Command = 0x300,
    CommandTarget = 0x310,
    Timer = 0x320,
    Thermal = 0x330,
    Performance = 0x340,
    Line0 = 0x350,
    Line1 = 0x360,
    Error = 0x370,
    InitialCount = 0x380,
    CurrentCount = 0x390,
    Divide = 0x3e0,
}

const MASKED: u32 = 1 << 16;
const TIMER_DEADLINE: u32 = 2 << 17;
const DIVIDE_BY_1: u32 = 0b1011;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const DELIVER_EXTERNAL: u32 = 7 << 8;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVER_INIT: u32 = 5 << 8;
const DELIVER_START: u32 = 6 << 8;
const COMMAND_PENDING: u32 = 1 << 12;
const LEVEL_ASSERT: u32 = 1 << 14;

/// The register page; null in x2APIC mode.
static PAGE: AtomicPtr<u32> = AtomicPtr::new(ptr::null_mut());
/// Physical address of the register page, so that nobody else maps it.
static PHYSICAL: AtomicU64 = AtomicU64::new(0);

fn read(register: Register) -> u32 {
    let page = PAGE.load(Relaxed);
    if page.is_null() {
        // SAFETY: in x2APIC mode these registers exist.
        return unsafe { read_msr(X2APIC_BASE + (register as u32 >> 4)) } as u32;
    }
    // SAFETY: the page is mapped, and the offset lies in it.
    unsafe { page.byte_add(register as usize).read_volatile() }
}

#[inline]
fn write(register: Register, value: u32) {
    let page = PAGE.load(Relaxed);
    if page.is_null() {
        // SAFETY: in x2APIC mode these registers exist; the values used here are defined.
        unsafe { write_msr(X2APIC_BASE + (register as u32 >> 4), u64::from(value)) };
        return;
    }
    // SAFETY: the page is mapped, and the offset lies in it.
    unsafe { page.byte_add(register as usize).write_volatile(value) };
}

/// Finds the registers. Once. `false`: they cannot be mapped.
pub(super) fn init() -> bool {
    if features::has(Feature::X2apic) {
        return true;
    }
    // SAFETY: every 64-bit processor has this register.
    let base = unsafe { read_msr(IA32_APIC_BASE) } & paging::ADDRESS;
    PHYSICAL.store(base, Relaxed);
    let Some(page) = paging::map_device(base, base::PAGE_SIZE) else { return false };
    PAGE.store(page.cast(), Relaxed);
    true
}

/// True when its registers are MSRs.
pub(super) fn is_x2apic() -> bool {
    PAGE.load(Relaxed).is_null()
}

/// Switches this processor's APIC on, all its own sources masked but NMI.
pub(super) fn init_processor() {
    const GLOBAL_ENABLE: u64 = 1 << 11;
    const X2APIC_ENABLE: u64 = 1 << 10;
    let x2apic = is_x2apic();
    // SAFETY: enabling is always allowed; x2APIC only where CPUID has it.
    unsafe {
        let mut base = read_msr(IA32_APIC_BASE) | GLOBAL_ENABLE;
        if x2apic {
            // From xAPIC mode to x2APIC mode; both in one step is not allowed from "off".
            write_msr(IA32_APIC_BASE, base);
            base |= X2APIC_ENABLE;
        }
        write_msr(IA32_APIC_BASE, base);
    }
    write(Register::TaskPriority, 0);
    for register in [Register::Thermal, Register::Performance, Register::Line0] {
        write(register, MASKED);
    }
    write(Register::Line1, DELIVER_NMI);
    write(Register::Error, u32::from(ERROR_VECTOR));
    write(Register::Spurious, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
    write(Register::Divide, DIVIDE_BY_1);
    let deadline = if features::has(Feature::TscDeadline) { TIMER_DEADLINE } else { 0 };
    write(Register::Timer, deadline | u32::from(TIMER_VECTOR));
    let id = read(Register::Id);
    let id = if x2apic { id } else { id >> 24 };
    percpu::this().apic_id.set(id);
    presence::register(id);
}

/// Lets the old interrupt controllers interrupt this processor.
pub(super) fn pass_on_external() {
    write(Register::Line0, DELIVER_EXTERNAL);
}

/// Sends a message to the processor with this APIC id (Intel SDM volume 3, 11.6.1 and 11.12.9).
fn send(apic_id: u32, command: u32) {
    if PAGE.load(Relaxed).is_null() {
        let value = u64::from(apic_id) << 32 | u64::from(command);
        // The write does not wait for stores before it, unlike one to the register page.
        fence(SeqCst);
        // SAFETY: the register exists in x2APIC mode; the commands are the ones below.
        unsafe { write_msr(X2APIC_BASE + (Register::Command as u32 >> 4), value) };
        return;
    }
    write(Register::CommandTarget, apic_id << 24);
    write(Register::Command, command);
    while read(Register::Command) & COMMAND_PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// Makes a processor look at what there is to do.
pub(super) fn send_kick(apic_id: u32) {
    send(apic_id, LEVEL_ASSERT | u32::from(KICK_VECTOR));
}

/// Resets a processor; it then waits for [`send_start`].
pub(super) fn send_init(apic_id: u32) {
    send(apic_id, LEVEL_ASSERT | DELIVER_INIT);
}

/// Starts a processor in real mode at the beginning of a page below 1 MiB.
pub(super) fn send_start(apic_id: u32, page: u8) {
    send(apic_id, LEVEL_ASSERT | DELIVER_START | u32::from(page));
}

/// True when the page at `physical` holds the registers.
pub(super) fn owns(physical: u64, end: u64) -> bool {
    let base = PHYSICAL.load(Relaxed);
    base != 0 && physical < base + base::PAGE_SIZE && base < end
}

/// Tells the APIC that the interrupt was taken.
#[inline]
pub(super) fn acknowledge() {
    write(Register::EndOfInterrupt, 0);
}

/// Asks for the timer interrupt when the time-stamp counter reaches `deadline`; 0: never.
pub(super) fn arm_deadline(deadline: u64) {
    // SAFETY: only used where CPUID has TSC-deadline mode.
    unsafe { write_msr(IA32_TSC_DEADLINE, deadline) };
}

/// Asks for the timer interrupt after `count` ticks; 0: never.
pub(super) fn arm_count(count: u32) {
    write(Register::InitialCount, count);
}

/// Ticks left.
pub(super) fn count() -> u32 {
    read(Register::CurrentCount)
}
