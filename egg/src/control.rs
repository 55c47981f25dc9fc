//! The control channel: lines that the kernel writes for `egg`, apart from the console.
//!
//! | line | meaning |
//! |---|---|
//! | `ready` | the console takes input; the program is about to start |
//! | `exit N` | the program ended with code N |
//! | `signal N` | the program was killed by signal N (a number or a name) |
//! | `refused TEXT` | the kernel cannot run the program or the image |
//! | `panic TEXT` | the kernel panicked |
//! | `frame ADDRESS` | a return address of the panic's trace, hexadecimal |
//! | `net ADDRESS` | the network is up |
//! | `warn TEXT` | something that the user should know |
//! | `trace TEXT` | a system call (`--trace`) |
//! | `enosys NAME NUMBER ADDRESS…` | a system call that the kernel lacks, and who made it |
//! | `file NAME DATA` | lengths in bytes of a path and of the next piece of that file, which follow |
//!
//! After `exit`, `signal` or `refused` the kernel ends QEMU with status 33. One without the other is a failure.

/// QEMU's exit status when the kernel ends the machine in order: it writes 0x10 to the
/// `isa-debug-exit` device, which makes `(0x10 << 1) | 1` of it. No failure of QEMU gives that.
pub(crate) const ORDERLY_STATUS: i32 = 33;

/// A line of the channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Ready,
    Exit(u8),
    Signal(u8),
    Refused(String),
    Panic(String),
    Frame(u64),
    Net(String),
    Warn(String),
    /// A system call, as strace(1) prints it.
    Trace(String),
    /// A system call that the kernel lacks: its name and number, and where the program made it,
    /// innermost function first.
    Unimplemented(String, Vec<u64>),
    /// The next piece of a file that goes back to this host.
    File {
        /// Its path in the machine.
        path: Vec<u8>,
        /// The piece.
        data: Vec<u8>,
    },
    /// Not understood; from a newer kernel perhaps.
    Unknown(String),
}

impl Event {
    fn parse(line: &str) -> Self {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        let known = match word {
            "ready" => Some(Self::Ready),
            "exit" => rest.parse().ok().map(Self::Exit),
            "signal" => signal_number(rest).map(Self::Signal),
            "refused" => Some(Self::Refused(rest.to_owned())),
            "panic" => Some(Self::Panic(rest.to_owned())),
            "frame" => {
                let digits = rest.strip_prefix("0x").unwrap_or(rest);
                u64::from_str_radix(digits, 16).ok().map(Self::Frame)
            }
            "net" => Some(Self::Net(rest.to_owned())),
            "warn" => Some(Self::Warn(rest.to_owned())),
            "trace" => Some(Self::Trace(rest.to_owned())),
            "enosys" => Self::unimplemented(rest),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Unknown(line.to_owned()))
    }

    fn unimplemented(rest: &str) -> Option<Self> {
        let mut words = rest.split(' ');
        let (name, number) = (words.next()?, words.next()?);
        let addresses = words.map_while(|word| u64::from_str_radix(word, 16).ok()).collect();
        Some(Self::Unimplemented(format!("{name} ({number})"), addresses))
    }
}

/// Linux's numbers on x86-64 (signal(7)).
const SIGNALS: [(&str, u8); 23] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

fn signal_number(text: &str) -> Option<u8> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let named = SIGNALS.iter().find(|row| row.0 == name).map(|row| row.1);
    named.or_else(|| text.parse().ok()).filter(|number| (1..=64).contains(number))
}

/// The signal's name, as far as it has one.
pub(crate) fn signal_name(number: u8) -> String {
    let known = SIGNALS.iter().find(|row| row.1 == number);
    known.map_or_else(|| format!("signal {number}"), |row| format!("SIG{}", row.0))
}

/// The longest line we take; the rest of a longer one is dropped.
const LONGEST_LINE: usize = 4096;

/// The longest path and the longest piece of a file that we take, in bytes.
const LONGEST_PATH: usize = 4096;
const LONGEST_PIECE: usize = 1 << 20;

/// Makes lines of what arrives in pieces.
#[derive(Default, Debug)]
pub(crate) struct Lines {
    partial: Vec<u8>,
    /// The lengths of path and data of a piece of a file that is arriving.
    piece: Option<(usize, usize)>,
}

impl Lines {
    /// Takes bytes, gives the events that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            events.extend(match self.piece {
                Some((path, data)) => self.push_to_piece(byte, path, data),
                None => self.push_to_line(byte),
            });
        }
        events
    }

    fn push_to_line(&mut self, byte: u8) -> Option<Event> {
        if byte != b'\n' {
            if self.partial.len() < LONGEST_LINE {
                self.partial.push(byte);
            }
            return None;
        }
        let line = std::mem::take(&mut self.partial);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        self.piece = piece_lengths(line);
        (!line.is_empty() && self.piece.is_none()).then(|| Event::parse(line))
    }

    fn push_to_piece(&mut self, byte: u8, path: usize, data: usize) -> Option<Event> {
        self.partial.push(byte);
        if self.partial.len() < path + data {
            return None;
        }
        self.piece = None;
        let mut path_and_data = std::mem::take(&mut self.partial);
        let data = path_and_data.split_off(path);
        Some(Event::File { path: path_and_data, data })
    }
}

/// Of a line `file NAME DATA`. A path is never empty, so that bytes must follow.
fn piece_lengths(line: &str) -> Option<(usize, usize)> {
    let (path, data) = line.strip_prefix("file ")?.split_once(' ')?;
    let (path, data) = (path.parse().ok()?, data.parse().ok()?);
    ((1..=LONGEST_PATH).contains(&path) && data <= LONGEST_PIECE).then_some((path, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_arrive_in_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"rea"), []);
        assert_eq!(lines.push(b"dy\r\nexit 25"), [Event::Ready]);
        assert_eq!(
            lines.push(b"5\n\nexit 256\n"),
            [Event::Exit(255), Event::Unknown("exit 256".into())]
        );
    }

    #[test]
    fn every_line() {
        let mut lines = Lines::default();
        let events = lines.push(
            b"signal SIGSEGV\nsignal 9\nsignal X\npanic a b\nframe 0xffffffff80201234\nframe 1f\nnet 10.0.2.15\nwarn w\n",
        );
        assert_eq!(
            events,
            [
                Event::Signal(11),
                Event::Signal(9),
                Event::Unknown("signal X".into()),
                Event::Panic("a b".into()),
                Event::Frame(0xffff_ffff_8020_1234),
                Event::Frame(31),
                Event::Net("10.0.2.15".into()),
                Event::Warn("w".into()),
            ]
        );
        assert_eq!((signal_name(11), signal_name(40)), ("SIGSEGV".into(), "signal 40".into()));
    }

    #[test]
    fn files_come_in_pieces() {
        let mut lines = Lines::default();
        let mut events = Vec::new();
        for piece in b"file 2 5\n/aone\n\nfile 2 0\n/bfile 0 1\nready\n".chunks(3) {
            events.extend(lines.push(piece));
        }
        let file = |path: &[u8], data: &[u8]| Event::File { path: path.into(), data: data.into() };
        assert_eq!(
            events,
            [
                file(b"/a", b"one\n\n"),
                file(b"/b", b""),
                Event::Unknown("file 0 1".into()),
                Event::Ready,
            ]
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Lines::default().push(&bytes);
        }
    }
}
