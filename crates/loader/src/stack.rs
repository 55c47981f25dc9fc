//! The first stack: what the program finds at its start (System V ABI, AMD64 supplement, 3.4.1).

use abi::raw::auxvec;
use alloc::vec::Vec;
use base::UserAddr;

/// Longest single argument or environment string with its NUL (Linux's `MAX_ARG_STRLEN`).
pub const LONGEST_STRING: usize = 128 << 10;

/// Most bytes of the whole: a quarter of the 8 MiB stack (execve(2)).
pub const MOST_BYTES: usize = 2 << 20;

/// What goes on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// Arguments, the program's name first.
    pub arguments: &'a [&'a [u8]],
    /// Environment, `K=V`.
    pub environment: &'a [&'a [u8]],
    /// The path of the program (AT_EXECFN).
    pub executable: &'a [u8],
    /// AT_RANDOM.
    pub random: [u8; 16],
    /// Where the program was loaded, and what the machine is like.
    pub auxiliary: Auxiliary,
}

/// The entries of the auxiliary vector that are numbers (getauxval(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Auxiliary {
    /// AT_PHDR; null: left out.
    pub headers: UserAddr,
    /// AT_PHENT.
    pub header_bytes: u16,
    /// AT_PHNUM.
    pub header_count: u16,
    /// AT_ENTRY.
    pub entry: UserAddr,
    /// AT_HWCAP: EDX of CPUID leaf 1.
    pub hardware_capabilities: u64,
    /// AT_HWCAP2: bit 1 says that user code may use the FSGSBASE instructions.
    pub hardware_capabilities_2: u64,
    /// AT_UID and AT_EUID.
    pub user: u32,
    /// AT_GID and AT_EGID.
    pub group: u32,
    /// AT_SYSINFO_EHDR: the vDSO; null: left out.
    pub vdso: UserAddr,
    /// AT_MINSIGSTKSZ: bytes that a signal frame takes.
    pub signal_stack_bytes: u64,
}

/// The stack as it must be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitialStack {
    /// The stack pointer at the program's start, a multiple of 16; `bytes` go here.
    pub pointer: UserAddr,
    /// Everything from there to the top.
    pub bytes: Vec<u8>,
    /// The auxiliary vector within `bytes` (for /proc/self/auxv).
    pub auxiliary_vector: core::ops::Range<usize>,
}

/// Arguments and environment are too long (`E2BIG`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

/// Lays out the stack below `top`, which is a multiple of 16.
///
/// # Errors
/// Too many or too long strings.
pub fn build(contents: &Contents<'_>, top: UserAddr) -> Result<InitialStack, TooLong> {
    let strings = contents.arguments.iter().chain(contents.environment);
    let too_long = |string: &[u8]| string.len() >= LONGEST_STRING;
    if strings.clone().any(|string| too_long(string)) || too_long(contents.executable) {
        return Err(TooLong);
    }
    // The strings, in the order in which Linux has them: upwards from the lowest.
    let mut text = Text::default();
    let random = text.add(&contents.random, false);
    let platform = text.add(b"x86_64", true);
    let arguments: Vec<usize> =
        contents.arguments.iter().map(|string| text.add(string, true)).collect();
    let environment: Vec<usize> =
        contents.environment.iter().map(|string| text.add(string, true)).collect();
    let executable = text.add(contents.executable, true);
    text.bytes.extend_from_slice(&[0; 8]);

    let text_start = top.0.checked_sub(text.bytes.len() as u64).ok_or(TooLong)? & !15;
    let at = |offset: usize| text_start + offset as u64;
    let auxiliary = entries(
        &contents.auxiliary,
        &Pointers { random: at(random), platform: at(platform), executable: at(executable) },
    );
    let words = 1 + arguments.len() + 1 + environment.len() + 1 + auxiliary.len() * 2;
    let pointer = text_start.checked_sub(words as u64 * 8).ok_or(TooLong)? & !15;
    let total = usize::try_from(top.0 - pointer).map_err(|_| TooLong)?;
    if total > MOST_BYTES {
        return Err(TooLong);
    }

    let mut bytes = Vec::with_capacity(total);
    let mut word = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    word(arguments.len() as u64);
    arguments.iter().for_each(|offset| word(at(*offset)));
    word(0);
    environment.iter().for_each(|offset| word(at(*offset)));
    word(0);
    for (kind, value) in &auxiliary {
        word(*kind);
        word(*value);
    }
    let auxiliary_end = bytes.len();
    bytes.resize((text_start - pointer) as usize, 0);
    bytes.extend_from_slice(&text.bytes);
    bytes.resize(total, 0);
    Ok(InitialStack {
        pointer: UserAddr(pointer),
        auxiliary_vector: auxiliary_end - auxiliary.len() * 16..auxiliary_end,
        bytes,
    })
}

#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
}

impl Text {
    /// Adds a string; returns its offset.
    fn add(&mut self, string: &[u8], terminate: bool) -> usize {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(string);
        if terminate {
            self.bytes.push(0);
        }
        offset
    }
}

struct Pointers {
    random: u64,
    platform: u64,
    executable: u64,
}

/// The auxiliary vector, with its end. Entries that would be null are left out.
fn entries(auxiliary: &Auxiliary, pointers: &Pointers) -> Vec<(u64, u64)> {
    /// Clock ticks in a second, as times(2) counts (`USER_HZ`).
    const CLOCK_TICKS: u64 = 100;
    let optional = |address: UserAddr| (!address.is_null()).then_some(address.0);
    let all = [
        (auxvec::AT_SYSINFO_EHDR, optional(auxiliary.vdso)),
        (auxvec::AT_MINSIGSTKSZ, Some(auxiliary.signal_stack_bytes)),
        (auxvec::AT_HWCAP, Some(auxiliary.hardware_capabilities)),
        (auxvec::AT_PAGESZ, Some(base::PAGE_SIZE)),
        (auxvec::AT_CLKTCK, Some(CLOCK_TICKS)),
        (auxvec::AT_PHDR, optional(auxiliary.headers)),
        (auxvec::AT_PHENT, Some(u64::from(auxiliary.header_bytes))),
        (auxvec::AT_PHNUM, Some(u64::from(auxiliary.header_count))),
        // Where the dynamic linker lies: there is none.
        (auxvec::AT_BASE, Some(0)),
        (auxvec::AT_FLAGS, Some(0)),
        (auxvec::AT_ENTRY, Some(auxiliary.entry.0)),
        (auxvec::AT_UID, Some(u64::from(auxiliary.user))),
        (auxvec::AT_EUID, Some(u64::from(auxiliary.user))),
        (auxvec::AT_GID, Some(u64::from(auxiliary.group))),
        (auxvec::AT_EGID, Some(u64::from(auxiliary.group))),
        (auxvec::AT_SECURE, Some(0)),
        (auxvec::AT_RANDOM, Some(pointers.random)),
        (auxvec::AT_HWCAP2, Some(auxiliary.hardware_capabilities_2)),
        (auxvec::AT_EXECFN, Some(pointers.executable)),
        (auxvec::AT_PLATFORM, Some(pointers.platform)),
        (auxvec::AT_NULL, Some(0)),
    ];
    all.into_iter().filter_map(|(kind, value)| Some((u64::from(kind), value?))).collect()
}
