//! Socket filters: classic BPF (socket(7), Documentation/networking/filter.rst of Linux).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use base::Errno;

/// Most instructions of a program (`BPF_MAXINSNS`).
pub const INSTRUCTIONS_MAX: usize = 4096;
/// Words of memory that a program has (`BPF_MEMWORDS`).
const WORDS: usize = 16;
/// Loads from here on are of what the kernel knows of the packet (`SKF_AD_OFF`).
const ANCILLARY: u32 = 0xffff_f000;

/// The bits of an instruction's code (linux/bpf_common.h).
mod code {
    pub(super) const LD: u16 = 0;
    pub(super) const LDX: u16 = 1;
    pub(super) const ST: u16 = 2;
    pub(super) const STX: u16 = 3;
    pub(super) const ALU: u16 = 4;
    pub(super) const JMP: u16 = 5;
    pub(super) const RET: u16 = 6;
    pub(super) const MISC: u16 = 7;
    /// The operand is X, not the constant.
    pub(super) const X: u16 = 8;
    /// The whole code of an unconditional jump, and the operations of others.
    pub(super) const JA: u16 = JMP;
    pub(super) const LD_MEM: u16 = LD | 0x60;
    pub(super) const LDX_MEM: u16 = LDX | 0x60;
    pub(super) const RET_A: u16 = RET | 0x10;
    pub(super) const TXA: u16 = MISC | 0x80;
    pub(super) const NEG: u16 = ALU | 0x80;
}

/// Modes of loads.
const IMMEDIATE: u16 = 0;
const ABSOLUTE: u16 = 0x20;
const INDIRECT: u16 = 0x40;
const MEMORY: u16 = 0x60;
const LENGTH: u16 = 0x80;
const HEADER: u16 = 0xa0;

/// Operations of arithmetic instructions, without those that are checked apart.
const DIVIDE: u16 = 0x30;
const MODULO: u16 = 0x90;
const SHIFT_LEFT: u16 = 0x60;
const SHIFT_RIGHT: u16 = 0x70;

/// `struct sock_filter`.
#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

/// What such a load can give here: the exclusive or of A and X.
const XOR_X: u32 = ANCILLARY + 40;

/// A program that has been checked: it ends, and uses only memory that it has written.
pub struct Filter(Box<[Instruction]>);

impl Instruction {
    fn decode(bytes: [u8; 8]) -> Self {
        let [code, more, if_true, if_false, a, b, c, d] = bytes;
        let (code, k) = (u16::from_ne_bytes([code, more]), u32::from_ne_bytes([a, b, c, d]));
        Self { code, if_true, if_false, k }
    }

    /// `chk_code_allowed` and the checks of operands in `bpf_check_classic`; `left`: how many
    /// instructions follow.
    fn is_valid(&self, left: usize) -> bool {
        let (class, mode, size) = (self.code & 7, self.code & 0xe0, self.code & 0x18);
        let (operation, has_x) = (self.code & 0xf0, self.code & code::X != 0);
        let is_short = self.code <= 0xff;
        let reaches = |offset: u32| (offset as usize) < left;
        is_short
            && match class {
                code::LD => match mode {
                    ABSOLUTE => size != 0x18 && (self.k < ANCILLARY || self.k == XOR_X),
                    INDIRECT => size != 0x18,
                    MEMORY => size == 0 && (self.k as usize) < WORDS,
                    IMMEDIATE | LENGTH => size == 0,
                    _ => false,
                },
                code::LDX => match mode {
                    HEADER => size == 0x10,
                    MEMORY => size == 0 && (self.k as usize) < WORDS,
                    IMMEDIATE | LENGTH => size == 0,
                    _ => false,
                },
                code::ST | code::STX => self.code == class && (self.k as usize) < WORDS,
                code::ALU => match operation {
                    0x80 => self.code == code::NEG,
                    DIVIDE | MODULO => has_x || self.k != 0,
                    SHIFT_LEFT | SHIFT_RIGHT => has_x || self.k < 32,
                    _ => operation <= 0xa0,
                },
                code::JMP if operation == 0 => self.code == code::JA && reaches(self.k),
                code::JMP => {
                    operation <= 0x40
                        && reaches(u32::from(self.if_true))
                        && reaches(u32::from(self.if_false))
                }
                code::RET => matches!(self.code, code::RET | code::RET_A),
                _ => matches!(self.code, code::MISC | code::TXA),
            }
    }
}

impl Filter {
    /// Checks a program, eight bytes an instruction.
    ///
    /// # Errors
    /// `EINVAL`: not a program that Linux would run, or one that asks for what is not known here.
    pub fn new(bytes: &[u8]) -> Result<Self, Errno> {
        let (pieces, rest) = bytes.as_chunks();
        let program: Vec<_> = pieces.iter().map(|bytes| Instruction::decode(*bytes)).collect();
        let count = program.len();
        let valid = program.iter().enumerate().all(|(at, one)| one.is_valid(count - at - 1));
        let last = program.last().is_some_and(|last| last.code & 7 == code::RET);
        if !rest.is_empty() || count > INSTRUCTIONS_MAX || !valid || !last || !reads_own(&program) {
            return Err(Errno::EINVAL);
        }
        Ok(Self(program.into_boxed_slice()))
    }

    /// What the program says of a packet of these bytes, of which the first are in `head`: how many it
    /// keeps. 0: drop it.
    #[must_use]
    pub fn run(&self, head: &[u8], body: &[u8]) -> usize {
        self.result(&Packet { head, body }).unwrap_or(0) as usize
    }

    /// `None`: it read beyond the packet, or divided by zero.
    fn result(&self, packet: &Packet<'_>) -> Option<u32> {
        let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; WORDS]);
        let mut at = 0;
        loop {
            let one = self.0.get(at)?;
            at += 1;
            let (k, cell) = (one.k, one.k as usize % WORDS);
            let operand = if one.code & code::X != 0 { x } else { k };
            match one.code & 7 {
                code::LD if one.code == code::LD_MEM => a = memory[cell],
                code::LD => a = packet.load(one, a, x)?,
                code::LDX if one.code == code::LDX_MEM => x = memory[cell],
                code::LDX if one.code & 0xe0 == HEADER => x = (packet.bytes(k, 1)? & 0xf) * 4,
                code::LDX => x = packet.load(one, a, x)?,
                code::ST => memory[cell] = a,
                code::STX => memory[cell] = x,
                code::ALU => a = calculate(one.code & 0xf0, a, operand)?,
                code::JMP => {
                    let taken = match one.code & 0xf0 {
                        0 => {
                            at += k as usize;
                            continue;
                        }
                        0x10 => a == operand,
                        0x20 => a > operand,
                        0x30 => a >= operand,
                        _ => a & operand != 0,
                    };
                    at += usize::from(if taken { one.if_true } else { one.if_false });
                }
                code::RET => return Some(if one.code == code::RET_A { a } else { k }),
                _ if one.code == code::TXA => a = x,
                _ => x = a,
            }
        }
    }
}

fn calculate(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        0 => a.wrapping_add(operand),
        0x10 => a.wrapping_sub(operand),
        0x20 => a.wrapping_mul(operand),
        DIVIDE => a.checked_div(operand)?,
        0x40 => a | operand,
        0x50 => a & operand,
        SHIFT_LEFT => a.wrapping_shl(operand),
        SHIFT_RIGHT => a.wrapping_shr(operand),
        0x80 => a.wrapping_neg(),
        MODULO => a.checked_rem(operand)?,
        _ => a ^ operand,
    })
}

/// `check_load_and_stores`: whatever way the program takes, it reads no memory that it has not
/// written. Jumps lead forwards only.
fn reads_own(program: &[Instruction]) -> bool {
    let mut written = vec![u16::MAX; program.len()];
    let mut now = 0;
    for (at, one) in program.iter().enumerate() {
        now &= written[at];
        let cell = 1_u16 << (one.k as usize % WORDS);
        match one.code & 7 {
            code::ST | code::STX => now |= cell,
            code::LD | code::LDX if one.code & 0xe0 == MEMORY && now & cell == 0 => return false,
            code::JMP => {
                let ways = match one.code {
                    code::JA => [one.k as usize; 2],
                    _ => [one.if_true, one.if_false].map(usize::from),
                };
                for way in ways {
                    if let Some(there) = written.get_mut(at + 1 + way) {
                        *there &= now;
                    }
                }
                now = u16::MAX;
            }
            _ => {}
        }
    }
    true
}

struct Packet<'a> {
    head: &'a [u8],
    body: &'a [u8],
}

impl Packet<'_> {
    /// A number of `size` bytes in the order of the network.
    fn bytes(&self, offset: u32, size: usize) -> Option<u32> {
        let mut value = 0;
        for at in 0..size {
            let at = (offset as usize).checked_add(at)?;
            let byte = match self.head.get(at) {
                Some(byte) => byte,
                None => self.body.get(at.checked_sub(self.head.len())?)?,
            };
            value = value << 8 | u32::from(*byte);
        }
        Some(value)
    }

    fn load(&self, one: &Instruction, a: u32, x: u32) -> Option<u32> {
        let size = match one.code & 0x18 {
            0 => 4,
            8 => 2,
            _ => 1,
        };
        match one.code & 0xe0 {
            IMMEDIATE => Some(one.k),
            LENGTH => u32::try_from(self.head.len() + self.body.len()).ok(),
            ABSOLUTE if one.k == XOR_X => Some(a ^ x),
            ABSOLUTE => self.bytes(one.k, size),
            _ => self.bytes(x.checked_add(one.k)?, size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(rows: &[(u16, u8, u8, u32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (code, if_true, if_false, k) in rows {
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes.extend_from_slice(&[*if_true, *if_false]);
            bytes.extend_from_slice(&k.to_ne_bytes());
        }
        bytes
    }

    fn run(rows: &[(u16, u8, u8, u32)], packet: &[u8]) -> usize {
        let (head, body) = packet.split_at(packet.len() / 2);
        Filter::new(&program(rows)).ok().map_or(usize::MAX, |filter| filter.run(head, body))
    }

    #[test]
    fn programs_calculate() {
        // ldb [1]; and #1; jeq #0; ret #9; ret #0
        let even = [(0x30, 0, 0, 1), (0x54, 0, 0, 1), (0x15, 0, 1, 0), (6, 0, 0, 9), (6, 0, 0, 0)];
        assert_eq!(run(&even, &[0, 4]), 9);
        assert_eq!(run(&even, &[0, 5]), 0);
        assert_eq!(run(&even, &[0]), 0, "beyond the packet");
        // ld [1]; ret a: over the border of the two parts.
        assert_eq!(run(&[(0x20, 0, 0, 1), (0x16, 0, 0, 0)], &[9, 0, 0, 1, 2, 9]), 0x102);
        // ldx 4*([0]&0xf); ldh [x+1]; ret a
        let header = [(0xb1, 0, 0, 0), (0x48, 0, 0, 1), (0x16, 0, 0, 0)];
        assert_eq!(run(&header, &[0x41, 0, 0, 0, 0, 7, 8]), 0x708);
        // ld len; st M[3]; ldx M[3]; ld #100; div x; ret a
        let cells = [(0x80, 0, 0, 0), (2, 0, 0, 3), (0x61, 0, 0, 3), (0, 0, 0, 100)];
        let divided = [&cells[..], &[(0x3c, 0, 0, 0), (0x16, 0, 0, 0)]].concat();
        assert_eq!(run(&divided, &[0; 7]), 14);
        assert_eq!(run(&divided, &[]), 0, "by zero");
        // ld #1; neg; rsh #28; ret a
        assert_eq!(
            run(&[(0, 0, 0, 1), (0x84, 0, 0, 0), (0x74, 0, 0, 28), (0x16, 0, 0, 0)], &[]),
            15
        );
    }

    /// Each is refused by Linux.
    #[test]
    fn what_is_no_program_is_refused() {
        let end = (6, 0, 0, 0);
        let bad: [&[(u16, u8, u8, u32)]; 14] = [
            &[],
            &[(0, 0, 0, 0)],
            &[(0x99, 0, 0, 0), end],
            &[(0x100, 0, 0, 0), end],
            &[(0x34, 0, 0, 0), end],
            &[(0x64, 0, 0, 32), end],
            &[(2, 0, 0, 16), end],
            &[(0x60, 0, 0, 0), end],
            &[(5, 0, 0, 1), end],
            &[(5, 0, 0, u32::MAX), end],
            &[(0x15, 0, 1, 0), end],
            &[(0xe, 0, 0, 0)],
            &[(0x20, 0, 0, ANCILLARY + 1), end],
            // Written only on one of two ways.
            &[(0x15, 0, 1, 0), (2, 0, 0, 1), (0x60, 0, 0, 1), end],
        ];
        for rows in bad {
            assert_eq!(Filter::new(&program(rows)).err(), Some(Errno::EINVAL), "{rows:?}");
        }
        assert_eq!(Filter::new(&program(&[end])[..7]).err(), Some(Errno::EINVAL));
        assert_eq!(run(&[(0x15, 0, 0, 0), (2, 0, 0, 1), (0x60, 0, 0, 1), end], &[]), 0);
    }

    /// Whatever passes the check ends, and reads nothing that is not there.
    #[test]
    fn whatever_passes_runs() {
        let mut seed = 0x1234_5678_9abc_def0_u64;
        let mut number = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut passed = 0;
        for _ in 0..200_000 {
            let count = number() % 6 + 1;
            let mut bytes: Vec<u8> = (0..count)
                .flat_map(|_| {
                    let one = number();
                    let [code, _, a, b, k, ..] = one.to_ne_bytes();
                    [code, 0, a % 4, b % 4, k % 40, 0, 0, 0]
                })
                .collect();
            bytes.extend_from_slice(&program(&[(0x16, 0, 0, 0)]));
            if let Ok(filter) = Filter::new(&bytes) {
                passed += 1;
                let _ = filter.run(&bytes[..3], &bytes[3..]);
            }
        }
        assert!(passed > 1000, "{passed}");
    }
}
