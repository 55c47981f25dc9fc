//! Programs that do anything at all.

use super::pages::{self, fresh};
use super::{Outcome, check};
use base::{PAGE_SIZE, UserAddr};
use core::time::Duration;
use hal::boot::BootInfo;
use hal::user::{UserContext, vector_state_bytes};
use hal::{PageProtection, Registers, Trap, clock, irq};

const PROGRAMS: u64 = 400;
const TRAPS: u32 = 20;
const TEXT: u64 = 0x40_0000;
const MEMORY: u64 = 0x50_0000;

/// xorshift64*, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Mostly something that means something somewhere.
    fn word(&mut self) -> u64 {
        match self.next() % 8 {
            0 => self.next(),
            1 => MEMORY + self.next() % 4096,
            2 => TEXT + self.next() % 4096,
            3 => 0xffff_ffff_8020_0000 + self.next() % 0x10_0000,
            4 => 0xffff_8000_0000_0000 + self.next() % 0x100_0000,
            5 => 0x7fff_ffff_f000 - self.next() % 16,
            6 => 1 << (self.next() % 64),
            _ => self.next() % 256,
        }
    }

    fn registers(&mut self) -> Registers {
        Registers {
            r15: self.word(),
            r14: self.word(),
            r13: self.word(),
            r12: self.word(),
            rbp: self.word(),
            rbx: self.word(),
            r11: self.word(),
            r10: self.word(),
            r9: self.word(),
            r8: self.word(),
            rax: self.word(),
            rcx: self.word(),
            rdx: self.word(),
            rsi: self.word(),
            rdi: self.word(),
            rip: if self.next().is_multiple_of(8) { self.word() } else { TEXT },
            rflags: self.next(),
            rsp: self.word(),
            fs_base: self.word(),
            gs_base: self.word(),
        }
    }
}

/// Instructions that look for trouble, mixed with random bytes.
const INTERESTING: [&[u8]; 16] = [
    &[0x0f, 0x05],                   // syscall
    &[0x8e, 0xd0, 0x0f, 0x05],       // mov ss, eax; syscall
    &[0x9d],                         // popfq
    &[0x48, 0xcf],                   // iretq
    &[0x48, 0xcb],                   // lretq
    &[0x0f, 0x01, 0xf8],             // swapgs
    &[0xf3, 0x48, 0x0f, 0xae, 0xd8], // wrgsbase rax
    &[0xf3, 0x48, 0x0f, 0xae, 0xd0], // wrfsbase rax
    &[0xf1],                         // icebp
    &[0xcc],                         // int3
    &[0x0f, 0xae, 0x10],             // ldmxcsr [rax]
    &[0x0f, 0xae, 0x28],             // xrstor [rax]
    &[0x0f, 0xae, 0x08],             // fxrstor [rax]
    &[0x8e, 0xe8],                   // mov gs, eax
    &[0x0f, 0x07],                   // sysret
    &[0x0f, 0x01, 0xd1],             // xsetbv
];

/// Takes out vpinsrw of 256 bits without its prefix. To a processor it is an undefined instruction; QEMU 7.2 ends with
/// `gen_pinsr: Assertion 'vec_len == 16' failed`.
fn spare_qemu(program: &mut [u8]) {
    const OPCODE: u8 = 0xc4;
    const LONG: u8 = 4;
    for at in 0..program.len() {
        let (vector, opcode) = match program.get(at) {
            Some(0xc5) => (at + 1, at + 2),
            Some(0xc4) => (at + 2, at + 3),
            _ => continue,
        };
        if program.get(opcode) == Some(&OPCODE)
            && let Some(vector) = program.get_mut(vector)
        {
            *vector &= !LONG;
        }
    }
}

/// The number after `name` on the command line.
fn parameter(info: &BootInfo, name: &str) -> Option<u64> {
    info.command_line.split(' ').find_map(|word| word.strip_prefix(name))?.parse().ok()
}

/// `programs=` and `seed=` on the command line run more, and others.
pub(crate) fn random_programs(info: &BootInfo) -> Outcome {
    let mut random = Random(parameter(info, "seed=").unwrap_or(0x1234_5678_9abc_def1));
    let programs = parameter(info, "programs=").unwrap_or(PROGRAMS);
    let mut interrupts = 0;
    for _ in 0..programs {
        let space = pages::space()?;
        let text = fresh(&space, TEXT, PageProtection::all())?;
        let data = fresh(&space, MEMORY, PageProtection::all())?;
        let mut program = [0; PAGE_SIZE as usize];
        let mut at = 0;
        while at < 4000 {
            let piece = random.next().to_le_bytes();
            let piece = match INTERESTING.get(random.next() as usize % 24) {
                Some(piece) => piece,
                None => piece.get(..1 + random.next() as usize % 7).unwrap_or_default(),
            };
            if let Some(slot) = program.get_mut(at..at + piece.len()) {
                slot.copy_from_slice(piece);
            }
            data.write(at, &random.word().to_le_bytes());
            at += piece.len();
        }
        spare_qemu(&mut program);
        text.write(0, &program);
        let mut context = UserContext::new(TEXT, MEMORY);
        let mut state = alloc::vec![0; vector_state_bytes()];
        for chunk in state.chunks_mut(8) {
            chunk.copy_from_slice(random.next().to_le_bytes().get(..chunk.len()).unwrap_or(&[]));
        }
        state.get_mut(520..528).unwrap_or_default().fill(0);
        check(context.set_vector_state(&state), "a state was refused")?;
        context.registers = random.registers();
        for _ in 0..TRAPS {
            clock::arm(Some(clock::now() + Duration::from_micros(50)));
            match context.run(&space) {
                Trap::Interrupt => {
                    interrupts += 1;
                    let _ = irq::take_pending();
                }
                Trap::Syscall => {}
                _ if random.next().is_multiple_of(2) => {
                    // Go on after the instruction, somehow.
                    context.registers.rip = context.registers.rip.wrapping_add(1);
                }
                _ => context.registers = random.registers(),
            }
            let mut word = [0; 8];
            let _ = hal::usercopy::copy_from_user(&space, &mut word, UserAddr(random.word()));
        }
    }
    clock::arm(None);
    check(interrupts < u64::from(TRAPS) * programs, "nothing ran")
}
