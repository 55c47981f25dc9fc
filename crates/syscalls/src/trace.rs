//! `--trace`: system calls as strace(1) prints them.

use crate::call::{self, Call};
use crate::process::Process;
use crate::table::{self, Row};
use crate::thread::Thread;
use alloc::format;
use alloc::string::String;
use base::{Errno, UserAddr};
use core::fmt::Write;
use hal::Registers;

/// Longest text shown of a buffer or a string, in bytes.
const SHOWN_BYTES: usize = 48;

/// What an argument is, for the trace.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A signed number.
    Int,
    /// A length or other unsigned number.
    Size,
    /// A pointer or mask, in hexadecimal.
    Hex,
    /// A descriptor.
    Fd,
    /// A directory descriptor, or `AT_FDCWD`.
    DirFd,
    /// A C string that the program gives.
    Path,
    /// Bytes that the program gives; the next argument is their length.
    Bytes,
    /// Bytes that the program gets; the result is their length.
    Out,
    /// Permission bits, in octal.
    Mode,
    /// A signal number.
    Signal,
    /// A pointer to a `struct timespec` that the program gives.
    Timespec,
    /// One of these names.
    Name(&'static [(u64, &'static str)]),
    /// A set of these flags.
    Flags(&'static [(u64, &'static str)]),
}

/// Prints one finished call on the console; its number and arguments are still in the registers.
#[cold]
pub fn print(thread: &Thread, registers: &Registers, result: Result<usize, Errno>) {
    let (process, tid, number) = (&*thread.process, thread.tid, registers.rax);
    let (row, arguments) = (table::lookup(number), &call::arguments(registers));
    let mut line = format!("[{tid}] ");
    match row {
        Some(row) => {
            line.push_str(row.name);
            line.push('(');
            for (at, kind) in row.arguments.iter().enumerate() {
                if at > 0 {
                    line.push_str(", ");
                }
                argument(&mut line, process, *kind, at, arguments, &result);
            }
        }
        None => {
            let _ = write!(line, "syscall_{number}(");
            for value in arguments {
                let _ = write!(line, "{value:#x}, ");
            }
        }
    }
    line.push_str(") = ");
    match result {
        Ok(value) if value > 0xffff_ffff => write!(line, "{value:#x}"),
        Ok(value) => write!(line, "{value}"),
        Err(errno) => write!(line, "-1 {errno}"),
    }
    .unwrap_or_default();
    say(&line);
}

/// To the host command, which keeps the trace apart from what the program prints; to the console
/// when nobody listens.
fn say(line: &str) {
    if hal::console::has_control() {
        hal::console::control(&format!("trace {line}"));
    } else {
        hal::console::write(line.as_bytes());
        hal::console::write(b"\n");
    }
}

/// Prints a call that does not return.
pub fn print_last(call: &Call<'_>, row: &Row) {
    let tid = call.thread.tid;
    say(&format!("[{tid}] {}({}) = ?", row.name, call.int(0)));
}

/// Prints a signal on its way to a handler.
pub fn print_signal(tid: base::Tid, signal: base::Signal, code: i32, address: u64) {
    let name = signal_name(signal.0);
    say(&format!("[{tid}] --- {name} {{si_code={code}, si_addr={address:#x}}} ---"));
}

fn argument(
    line: &mut String,
    process: &Process,
    kind: Argument,
    at: usize,
    arguments: &[u64; 6],
    result: &Result<usize, Errno>,
) {
    let value = arguments.get(at).copied().unwrap_or(0);
    let next = arguments.get(at + 1).copied().unwrap_or(0);
    let int = (value as u32).cast_signed();
    let _ = match kind {
        Argument::Int | Argument::Fd => write!(line, "{int}"),
        Argument::Size => write!(line, "{value}"),
        Argument::Hex if value == 0 => write!(line, "0"),
        Argument::Hex => write!(line, "{value:#x}"),
        Argument::DirFd if int == -100 => write!(line, "AT_FDCWD"),
        Argument::DirFd => write!(line, "{int}"),
        Argument::Mode => write!(line, "{:#o}", value as u32),
        Argument::Signal => write!(line, "{}", signal_name(value as u8)),
        Argument::Path => path(line, process, UserAddr(value)),
        Argument::Bytes => bytes(line, process, UserAddr(value), next),
        Argument::Out => match result {
            Ok(count) => bytes(line, process, UserAddr(value), *count as u64),
            Err(_) => write!(line, "{value:#x}"),
        },
        Argument::Timespec => timespec(line, process, UserAddr(value)),
        Argument::Name(names) => match names.iter().find(|row| row.0 == value) {
            Some((_, name)) => write!(line, "{name}"),
            None => write!(line, "{value:#x}"),
        },
        Argument::Flags(names) => flags(line, value, names),
    };
}

fn flags(line: &mut String, value: u64, names: &[(u64, &str)]) -> core::fmt::Result {
    let mut rest = value;
    let mut first = true;
    for (bits, name) in names {
        let hit = if *bits == 0 { value == 0 } else { rest & bits == *bits };
        if hit {
            if !first {
                line.push('|');
            }
            line.push_str(name);
            rest &= !bits;
            first = false;
        }
    }
    match (rest, first) {
        (0, false) => Ok(()),
        (rest, true) => write!(line, "{rest:#x}"),
        (rest, false) => write!(line, "|{rest:#x}"),
    }
}

fn path(line: &mut String, process: &Process, at: UserAddr) -> core::fmt::Result {
    if at.is_null() {
        return write!(line, "NULL");
    }
    match process.memory.read_c_string(at, 4096) {
        Ok(text) => write!(line, "\"{}\"", text.escape_ascii()),
        Err(_) => write!(line, "{at}"),
    }
}

fn bytes(line: &mut String, process: &Process, at: UserAddr, count: u64) -> core::fmt::Result {
    let shown = usize::try_from(count).unwrap_or(usize::MAX).min(SHOWN_BYTES);
    let mut buffer = alloc::vec![0; shown];
    match process.memory.read_bytes(at, &mut buffer) {
        Ok(()) if count > shown as u64 => write!(line, "\"{}\"...", buffer.escape_ascii()),
        Ok(()) => write!(line, "\"{}\"", buffer.escape_ascii()),
        Err(_) => write!(line, "{at}"),
    }
}

fn timespec(line: &mut String, process: &Process, at: UserAddr) -> core::fmt::Result {
    if at.is_null() {
        return write!(line, "NULL");
    }
    match process.memory.read::<[i64; 2]>(at) {
        Ok([seconds, nanoseconds]) => {
            write!(line, "{{tv_sec={seconds}, tv_nsec={nanoseconds}}}")
        }
        Err(_) => write!(line, "{at}"),
    }
}

/// The name of a signal, as signal(7) has it.
#[must_use]
pub fn signal_name(number: u8) -> &'static str {
    const NAMES: [&str; 32] = [
        "0",
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    NAMES.get(usize::from(number)).copied().unwrap_or("SIGRT")
}
