//! The system-call table: data, one row a call.
//!
//! Each family file exports its rows; [`FAMILIES`] lists the families. `docs/syscalls.md` is
//! generated from here ([`markdown`]), and a test fails when it is stale.

use crate::call::{Call, Outcome};
use crate::trace::Argument;
use alloc::format;
use alloc::string::String;

/// How well a call is supported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// As Linux does it, for everything one process can see.
    Full,
    /// With the gaps that the row's note names.
    Partial,
    /// Refused on purpose, with the error that the note names.
    Refused,
}

/// A system call.
pub struct Row {
    /// Number on x86-64.
    pub number: u16,
    /// Name in the manual.
    pub name: &'static str,
    /// What its arguments are, for the trace.
    pub arguments: &'static [Argument],
    /// How well it is supported.
    pub support: Support,
    /// What is missing, or why it is refused. Empty for full support.
    pub note: &'static str,
    /// Does it.
    pub handler: fn(&mut Call<'_>) -> Outcome,
}

/// A fully supported call.
pub const fn full(
    number: u32,
    name: &'static str,
    arguments: &'static [Argument],
    handler: fn(&mut Call<'_>) -> Outcome,
) -> Row {
    Row { number: number as u16, name, arguments, support: Support::Full, note: "", handler }
}

/// A call with gaps, which `note` names.
pub const fn partial(
    number: u32,
    name: &'static str,
    arguments: &'static [Argument],
    note: &'static str,
    handler: fn(&mut Call<'_>) -> Outcome,
) -> Row {
    Row { number: number as u16, name, arguments, support: Support::Partial, note, handler }
}

/// A call that is refused; `note` says with what and why.
pub const fn refused(
    number: u32,
    name: &'static str,
    note: &'static str,
    handler: fn(&mut Call<'_>) -> Outcome,
) -> Row {
    Row { number: number as u16, name, arguments: &[], support: Support::Refused, note, handler }
}

/// A group of calls that share a file.
pub struct Family {
    /// Heading in the documentation.
    pub title: &'static str,
    /// Its calls.
    pub rows: &'static [Row],
}

/// Every family. A call that is in none is `ENOSYS`, said once on the console.
pub const FAMILIES: &[Family] = &[
    Family { title: "Threads and futexes", rows: crate::threads::ROWS },
    Family { title: "futex2", rows: crate::futex2::ROWS },
    Family { title: "Processes as descriptors", rows: crate::pidfd::ROWS },
    Family { title: "Scheduling", rows: crate::scheduling::ROWS },
    Family { title: "Signals", rows: crate::signals::ROWS },
    Family { title: "Memory", rows: crate::memory::ROWS },
    Family { title: "Time", rows: crate::time::ROWS },
    Family { title: "Timers", rows: crate::timers::ROWS },
    Family { title: "Information and limits", rows: crate::information::ROWS },
    Family { title: "The machine's end", rows: crate::reboot::ROWS },
    Family { title: "Identity", rows: crate::identity::ROWS },
    Family { title: "Reading and writing", rows: crate::file_io::ROWS },
    Family { title: "Copying between files", rows: crate::file_transfer::ROWS },
    Family { title: "Opening and descriptors", rows: crate::file_open::ROWS },
    Family { title: "Control of open files", rows: crate::file_control::ROWS },
    Family { title: "Status of files", rows: crate::file_status::ROWS },
    Family { title: "Attributes of files", rows: crate::file_attributes::ROWS },
    Family { title: "Directories and names", rows: crate::directory::ROWS },
    Family { title: "Pipes, events and timers", rows: crate::pipe::ROWS },
    Family { title: "Signals as files", rows: crate::signalfd::ROWS },
    Family { title: "epoll", rows: crate::epoll::ROWS },
    Family { title: "poll and select", rows: crate::poll::ROWS },
    Family { title: "Sockets", rows: crate::socket::ROWS },
    Family { title: "Messages", rows: crate::socket_message::ROWS },
    Family { title: "Socket options", rows: crate::socket_option::ROWS },
];

/// One past the highest number in the index.
const INDEX_LENGTH: usize = 512;

/// The row of each number, built at compile time.
static INDEX: [Option<&Row>; INDEX_LENGTH] = {
    let mut index = [None; INDEX_LENGTH];
    let mut family = 0;
    while family < FAMILIES.len() {
        let rows = FAMILIES[family].rows;
        let mut row = 0;
        while row < rows.len() {
            let number = rows[row].number as usize;
            assert!(index[number].is_none(), "two rows for one system call");
            index[number] = Some(&rows[row]);
            row += 1;
        }
        family += 1;
    }
    index
};

/// The row of call `number`.
#[inline]
#[must_use]
pub fn lookup(number: u64) -> Option<&'static Row> {
    *INDEX.get(usize::try_from(number).ok()?)?
}

/// `docs/syscalls.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# System calls\n\nGenerated from the table in `crates/syscalls` (`make docs`). Calls that \
         are not listed\nreturn ENOSYS, and the console names them once.\n",
    );
    let mut counts = [0; 3];
    for family in FAMILIES {
        text.push_str(&format!(
            "\n## {}\n\n| call | number | support | note |\n|---|---|---|---|\n",
            family.title
        ));
        for row in family.rows {
            counts[row.support as usize] += 1;
            let support = match row.support {
                Support::Full => "full",
                Support::Partial => "partial",
                Support::Refused => "refused",
            };
            text.push_str(&format!(
                "| {} | {} | {support} | {} |\n",
                row.name, row.number, row.note
            ));
        }
    }
    text.push_str(&format!(
        "\n{} full, {} partial, {} refused.\n",
        counts[0], counts[1], counts[2]
    ));
    text
}
