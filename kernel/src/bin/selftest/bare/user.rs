//! Entering ring 3 and coming back, with tiny programs in machine code.

use super::pages::{self, CODE, DATA, fresh, range};
use super::{Outcome, check};
use base::{Instant, UserAddr};
use core::time::Duration;
use hal::boot::BootInfo;
use hal::space::AddressSpace;
use hal::user::UserContext;
use hal::{Access, Exception, PageProtection, Registers, Trap, clock, console, irq, vector};

pub(crate) const TEXT: u64 = 0x40_0000;
pub(crate) const MEMORY: u64 = 0x50_0000;
const STACK: u64 = 0x7f_0000_1000;

/// `syscall; jmp .-2`
pub(crate) const CALL_FOREVER: &[u8] = &[0x0f, 0x05, 0xeb, 0xfc];
/// `jmp .`
const SPIN: &[u8] = &[0xeb, 0xfe];

/// An address space with `code` at [`TEXT`] and a page of data at [`MEMORY`].
pub(crate) fn program(code: &[u8]) -> Result<(AddressSpace, UserContext), &'static str> {
    let space = pages::space()?;
    fresh(&space, TEXT, CODE)?.write(0, code);
    fresh(&space, MEMORY, DATA)?;
    Ok((space, UserContext::new(TEXT, STACK)))
}

/// Runs until something else than an interrupt happens.
pub(crate) fn step(context: &mut UserContext, space: &AddressSpace) -> Trap {
    loop {
        match context.run(space) {
            Trap::Interrupt => {
                let _ = irq::take_pending();
            }
            trap => return trap,
        }
    }
}

fn pattern(seed: u64) -> Registers {
    let word = |n: u64| (seed + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Registers {
        r15: word(1),
        r14: word(2),
        r13: word(3),
        r12: word(4),
        rbp: word(5),
        rbx: word(6),
        r11: word(7),
        r10: word(8),
        r9: word(9),
        r8: word(10),
        rax: word(11),
        rcx: word(12),
        rdx: word(13),
        rsi: word(14),
        rdi: word(15),
        rip: TEXT,
        rflags: 0x202,
        rsp: word(16),
        fs_base: word(17) >> 17,
        gs_base: word(18) | 0xffff_8000_0000_0000,
    }
}

pub(crate) fn system_calls(_: &BootInfo) -> Outcome {
    let (space, mut context) = program(CALL_FOREVER)?;
    let initial = Registers { rip: TEXT, rsp: STACK, rflags: 0x202, ..Default::default() };
    check(context.registers == initial, "initial registers")?;
    for round in 0..200 {
        // Both ways in: with IRET (rcx and r11 are arbitrary), then with SYSRET.
        let mut wanted = pattern(round * 100);
        wanted.rflags |= round & 1 | (round & 2) << 9 | (round & 4) << 5 | (round & 8) << 18;
        context.registers = wanted;
        for _ in 0..3 {
            check(step(&mut context, &space) == Trap::Syscall, "not a system call")?;
            wanted.rip = TEXT + 2;
            wanted.rcx = wanted.rip;
            wanted.r11 = wanted.rflags;
            check(context.registers == wanted, "a register changed across a system call")?;
            wanted.rax = round;
            context.registers.rax = round;
        }
    }
    Ok(())
}

pub(crate) fn interrupts(_: &BootInfo) -> Outcome {
    let (space, mut context) = program(SPIN)?;
    for round in 0..20 {
        let mut wanted = pattern(round * 1000);
        // DF, NT, AC, ID, and the arithmetic flags.
        wanted.rflags |= [0x400, 0x4000, 0x4_0000, 0x20_0000, 0x8d5][round as usize % 5];
        context.registers = wanted;
        let deadline = clock::now() + Duration::from_micros(300);
        clock::arm(Some(deadline));
        for _ in 0..1000 {
            check(context.run(&space) == Trap::Interrupt, "not an interrupt")?;
            let _ = irq::take_pending();
            check(context.registers == wanted, "a register changed across an interrupt")?;
            if clock::now() >= deadline {
                break;
            }
        }
        check(clock::now() >= deadline, "the timer did not fire in time")?;
        check(clock::now() < deadline + Duration::from_millis(500), "the timer is late")?;
    }
    clock::arm(None);
    Ok(())
}

pub(crate) fn faults(_: &BootInfo) -> Outcome {
    // mov [rax], rbx; mov rcx, [rax + 8]; jmp rdx
    let (space, mut context) = program(&[0x48, 0x89, 0x18, 0x48, 0x8b, 0x48, 0x08, 0xff, 0xe2])?;
    let wanted = Registers { rax: 0x9000, rbx: 77, rdx: 0xa123, ..pattern(5) };
    context.registers = wanted;
    let Trap::PageFault(fault) = step(&mut context, &space) else { return Err("no fault") };
    check(fault.address == UserAddr(0x9000) && fault.access == Access::Write, "store fault")?;
    check(!fault.present && fault.error_code == 6, "store fault's error code")?;
    check(context.registers.rip == TEXT && context.registers.rbx == 77, "registers at the fault")?;
    let page = fresh(&space, 0x9000, DATA)?;
    page.write(8, &1234_u64.to_le_bytes());
    let Trap::PageFault(fault) = step(&mut context, &space) else { return Err("no jump fault") };
    check(fault.address == UserAddr(0xa123), "fetch fault's address")?;
    check(fault.access == Access::Execute && context.registers.rcx == 1234, "fetch fault")?;
    check(context.registers.rip == 0xa123, "rip at the fetch fault")?;
    let mut stored = [0; 8];
    page.read(0, &mut stored);
    check(u64::from_le_bytes(stored) == 77, "the store did not happen")?;
    // Data is not code.
    context.registers.rip = 0x9000;
    let Trap::PageFault(fault) = step(&mut context, &space) else { return Err("ran data") };
    check(fault.present && fault.access == Access::Execute, "NX fault")?;
    // Kernel memory is not the program's.
    for address in [0xffff_8000_0020_0000_u64, 0xffff_ffff_8020_0000] {
        context.registers = Registers { rax: address, ..wanted };
        let Trap::PageFault(fault) = step(&mut context, &space) else { return Err("wrote kernel") };
        check(fault.address.0 == address, "kernel fault address")?;
    }
    Ok(())
}

pub(crate) fn exceptions(_: &BootInfo) -> Outcome {
    // (code, vector, bytes by which rip moved)
    let cases: [(&[u8], u8, u64); 8] = [
        (&[0x0f, 0x0b], vector::INVALID_OPCODE, 0),     // ud2
        (&[0xf4], vector::GENERAL_PROTECTION, 0),       // hlt
        (&[0xfa], vector::GENERAL_PROTECTION, 0),       // cli
        (&[0xcc], vector::BREAKPOINT, 1),               // int3
        (&[0xf7, 0xf1], vector::DIVIDE_ERROR, 0),       // div ecx
        (&[0xcd, 0x80], vector::GENERAL_PROTECTION, 0), // int 0x80
        (&[0x0f, 0x20, 0xc0], vector::GENERAL_PROTECTION, 0), // mov rax, cr0
        (&[0xec], vector::GENERAL_PROTECTION, 0),       // in al, dx
    ];
    for (code, vector, moved) in cases {
        let (space, mut context) = program(code)?;
        context.registers = Registers { rcx: 0, ..pattern(9) };
        let Trap::Exception(exception) = step(&mut context, &space) else {
            return Err("no exception");
        };
        check(exception.vector == vector, "another exception")?;
        let wanted = Registers { rcx: 0, rip: TEXT + moved, ..pattern(9) };
        let mut have = context.registers;
        // Faults push RF, so that a breakpoint at the instruction is not hit twice.
        have.rflags &= !0x1_0000;
        check(have == wanted, "a register changed across an exception")?;
    }
    // Single step: nop; nop
    let (space, mut context) = program(&[0x90, 0x90, 0xeb, 0xfe])?;
    context.registers = Registers { rflags: 0x302, ..pattern(3) };
    for done in 1..=2 {
        let debug = Trap::Exception(Exception { vector: vector::DEBUG, error_code: 0 });
        check(step(&mut context, &space) == debug, "no single step")?;
        check(context.registers.rip == TEXT + done, "single step's rip")?;
        check(context.registers.rflags & 0x100 != 0, "TF is lost")?;
    }
    // TF across a system call: the step after it is reported.
    let (space, mut context) = program(CALL_FOREVER)?;
    context.registers = Registers { rflags: 0x302, ..pattern(3) };
    check(step(&mut context, &space) == Trap::Syscall, "no system call under TF")?;
    check(context.registers.rflags & 0x100 != 0, "TF is lost across a system call")?;
    // x87 and SSE exceptions are left to the signal tests; alignment checks need AC.
    // mov rax, [rax + 1]
    let (space, mut context) = program(&[0x48, 0x8b, 0x40, 0x01])?;
    context.registers = Registers { rax: MEMORY, rflags: 0x4_0202, ..pattern(4) };
    let trap = step(&mut context, &space);
    // QEMU's emulator has no alignment check: then the program runs into the zeros that follow.
    let checked = matches!(trap, Trap::Exception(e) if e.vector == vector::ALIGNMENT_CHECK);
    check(checked || matches!(trap, Trap::PageFault(_)), "alignment check")
}

pub(crate) fn bad_pointers(_: &BootInfo) -> Outcome {
    let (space, mut context) = program(CALL_FOREVER)?;
    for rip in [0x8000_0000_0000_u64, 0xffff_7fff_ffff_ffff, 0x1234_5678_9abc_def0] {
        // As after a system call, so that SYSRET would be chosen.
        context.registers = Registers { rip, rcx: rip, r11: 0x202, ..pattern(1) };
        let Trap::Exception(exception) = step(&mut context, &space) else {
            return Err("ran at an address that is none");
        };
        check(exception.vector == vector::GENERAL_PROTECTION, "not a protection fault")?;
    }
    for rip in [0x7fff_ffff_f000, 0xffff_8000_0000_0000, 0xffff_ffff_8020_0000, u64::MAX] {
        context.registers = Registers { rip, rcx: rip, r11: 0x202, ..pattern(1) };
        let Trap::PageFault(fault) = step(&mut context, &space) else { return Err("ran kernel") };
        check(fault.address == UserAddr(rip), "fault address")?;
    }
    // Any stack pointer is the program's own business.
    context.registers = Registers { rsp: 0x8000_0000_0000_0001, ..pattern(2) };
    check(step(&mut context, &space) == Trap::Syscall, "a strange stack pointer")?;
    check(context.registers.rsp == 0x8000_0000_0000_0001, "rsp changed")
}

pub(crate) fn compatibility(_: &BootInfo) -> Outcome {
    // push selector; push TEXT; lretq, where a 32-bit segment would be, and the kernel's own
    for selector in [0x23, 0x20, 0x10, 0x13, 0x08] {
        let code = [0x6a, selector, 0x68, 0, 0, 0x40, 0, 0x48, 0xcb];
        let (space, mut context) = program(&code)?;
        context.registers.rsp = MEMORY + 4096;
        let exception = match step(&mut context, &space) {
            Trap::Exception(exception) => exception,
            // QEMU 7.2 lets LRET read the stack as the kernel would, and SMAP stops it.
            Trap::PageFault(fault) if fault.error_code & 4 == 0 => continue,
            _ => return Err("the program entered another code segment"),
        };
        check(exception.vector == vector::GENERAL_PROTECTION, "not a protection fault")?;
    }
    // sysenter
    let (space, mut context) = program(&[0x0f, 0x34])?;
    check(matches!(step(&mut context, &space), Trap::Exception(_)), "SYSENTER did something")
}

pub(crate) fn flags(_: &BootInfo) -> Outcome {
    let (space, mut context) = program(CALL_FOREVER)?;
    context.registers = pattern(1);
    // All but TF and RF.
    context.registers.rflags = !0x1_0100;
    check(step(&mut context, &space) == Trap::Syscall, "not a system call")?;
    check(context.registers.rflags == 0x24_4ed7, "flags")?;
    // popfq; syscall: IOPL and IF are not the program's.
    let (space, mut context) = program(&[0x9d, 0x0f, 0x05])?;
    fresh(&space, MEMORY, DATA)?.write(0, &0x3002_u64.to_le_bytes());
    context.registers = Registers { rsp: MEMORY, ..pattern(1) };
    check(step(&mut context, &space) == Trap::Syscall, "not a system call")?;
    check(context.registers.rflags == 0x202, "the program changed IOPL or IF")
}

pub(crate) fn bases(_: &BootInfo) -> Outcome {
    // mov rax, fs:0; mov rbx, gs:8; syscall
    let (space, mut context) = program(&[
        0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x65, 0x48, 0x8b, 0x1c, 0x25, 8, 0, 0, 0, 0x0f,
        0x05,
    ])?;
    let page = fresh(&space, MEMORY, DATA)?;
    page.write(0x10, &111_u64.to_le_bytes());
    page.write(0x28, &222_u64.to_le_bytes());
    context.registers.fs_base = MEMORY + 0x10;
    context.registers.gs_base = MEMORY + 0x20;
    check(step(&mut context, &space) == Trap::Syscall, "loads by FS and GS fault")?;
    check(context.registers.rax == 111 && context.registers.rbx == 222, "loads by FS and GS")?;
    // wrfsbase rax; wrgsbase rbx; syscall
    let (space, mut context) =
        program(&[0xf3, 0x48, 0x0f, 0xae, 0xd0, 0xf3, 0x48, 0x0f, 0xae, 0xdb, 0x0f, 0x05])?;
    context.registers.rax = 0x1234_5678;
    context.registers.rbx = 0xffff_ffff_8000_0000;
    let trap = step(&mut context, &space);
    if trap == Trap::Exception(Exception { vector: vector::INVALID_OPCODE, error_code: 0 }) {
        // This processor does not have the instructions.
        return Ok(());
    }
    check(trap == Trap::Syscall, "WRFSBASE is not allowed")?;
    let bases = (context.registers.fs_base, context.registers.gs_base);
    check(bases == (0x1234_5678, 0xffff_ffff_8000_0000), "bases that the program wrote")?;
    context.registers.fs_base = 0x8000_0000_0000_0000;
    context.registers.rip = TEXT + 10;
    check(step(&mut context, &space) == Trap::Syscall, "a base that is no address")?;
    check(context.registers.fs_base == 0, "a base that is no address stayed")
}

pub(crate) fn protection(_: &BootInfo) -> Outcome {
    // mov [rax], rbx; mov rcx, [rax]; syscall; jmp back to the first
    let code = [0x48, 0x89, 0x18, 0x48, 0x8b, 0x08, 0x0f, 0x05, 0xeb, 0xf6];
    let (space, mut context) = program(&code)?;
    context.registers = Registers { rax: MEMORY, ..pattern(1) };
    check(step(&mut context, &space) == Trap::Syscall, "first round")?;
    let page = range(MEMORY, 4096)?;
    space.protect(page, PageProtection::READ, true);
    context.registers.rax = MEMORY;
    let Trap::PageFault(fault) = step(&mut context, &space) else { return Err("wrote") };
    check(fault.present && fault.access == Access::Write, "fault on read-only")?;
    // Copy on write: another frame in its place.
    let (old, _) = space.lookup(UserAddr(MEMORY)).ok_or("lookup")?;
    let new = old.duplicate().map_err(|_| "no memory")?;
    context.registers.rbx = 0x5555;
    space.map(UserAddr(MEMORY), new.clone(), DATA).map_err(|_| "no memory")?;
    check(step(&mut context, &space) == Trap::Syscall, "second round")?;
    let mut word = [0; 8];
    new.read(0, &mut word);
    check(u64::from_le_bytes(word) == 0x5555, "the new frame was not written")?;
    old.read(0, &mut word);
    check(u64::from_le_bytes(word) != 0x5555, "the old frame was written")?;
    check(space.unmap(page) == 1, "unmap")?;
    context.registers.rax = MEMORY;
    let Trap::PageFault(fault) = step(&mut context, &space) else { return Err("reached") };
    check(!fault.present, "fault on an unmapped page")
}

/// Says what a round trip costs. Under `-icount shift=0` a nanosecond is an instruction.
pub(crate) fn measure() {
    const ROUNDS: u64 = 20_000;
    let Ok((space, mut context)) = program(CALL_FOREVER) else { return };
    let start = clock::now();
    for _ in 0..ROUNDS {
        let _ = step(&mut context, &space);
    }
    let each = per_round(start, ROUNDS);
    console::write(alloc::format!("system call and back: {each} ns\r\n").as_bytes());
    let start = clock::now();
    for page in 0..2000 {
        let _ = fresh(&space, 0x1000_0000 + page * 4096, DATA);
    }
    let each = per_round(start, 2000);
    console::write(alloc::format!("fresh page: {each} ns\r\n").as_bytes());
    let start = clock::now();
    let mut buffer = [0; 64];
    for _ in 0..ROUNDS {
        let _ = hal::usercopy::copy_from_user(&space, &mut buffer, UserAddr(MEMORY));
    }
    let each = per_round(start, ROUNDS);
    console::write(alloc::format!("copy of 64 bytes: {each} ns\r\n").as_bytes());
    let start = clock::now();
    for round in 0..ROUNDS as usize {
        drop(core::hint::black_box(alloc::boxed::Box::new([round; 8])));
    }
    let each = per_round(start, ROUNDS);
    console::write(alloc::format!("allocate and free: {each} ns\r\n").as_bytes());
    let start = clock::now();
    for _ in 0..ROUNDS {
        let _ = core::hint::black_box(clock::now());
    }
    let each = per_round(start, ROUNDS);
    console::write(alloc::format!("clock: {each} ns\r\n").as_bytes());
}

fn per_round(start: Instant, rounds: u64) -> u128 {
    (clock::now() - start).as_nanos() / u128::from(rounds)
}
