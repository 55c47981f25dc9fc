//! /proc and /sys: trees of texts that are made when they are read.
//!
//! The trees are tables ([`proc`], [`sys`]). What they say about the process comes from a
//! [`ProcSource`], which the system-call layer implements.

mod family;
mod file;
mod inode;
mod kernel;
mod memory;
mod process;
mod system;

pub use family::Interface;
pub use inode::{PseudoFs, PseudoInode};

use crate::inode::InodeRef;
use crate::table::FdTable;
use crate::tree::Vfs;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::io::{Sink, Source};
use base::{Errno, Pid, Tid};
use family::{Fact, Family};

/// statfs magic of /proc.
pub const PROC_MAGIC: u64 = 0x9fa0;
/// statfs magic of /sys.
pub const SYSFS_MAGIC: u64 = 0x6265_6572;

const PROC_DEVICE: u64 = 21;
const SYS_DEVICE: u64 = 20;

/// A file of /proc whose content only the process knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names of proc(5)")]
pub enum ProcFile {
    Auxv,
    Cmdline,
    Comm,
    Environ,
    Io,
    Limits,
    LoginUser,
    Maps,
    OomScoreAdj,
    /// schedstat of a thread.
    SchedStat,
    Smaps,
    SmapsRollup,
    Stat,
    Statm,
    Status,
    /// timerslack_ns.
    TimerSlack,
    /// /proc/stat.
    SystemStat,
    /// /proc/schedstat.
    SystemSchedStat,
    Uptime,
    VmStat,
    /// /proc/loadavg.
    LoadAverage,
    /// /proc/version.
    Version,
    /// /proc/sys/kernel/hostname.
    Hostname,
    /// /proc/sys/fs/file-nr.
    FileCount,
    /// /proc/sys/kernel/threads-max.
    ThreadsMax,
    /// /proc/sys/kernel/version.
    KernelVersion,
    /// /proc/sys/kernel/osrelease.
    OsRelease,
    /// /proc/sys/kernel/random/boot_id.
    BootId,
    /// /proc/sys/kernel/random/uuid: another one each time.
    Uuid,
    NetArp,
    NetDev,
    NetIfInet6,
    NetIgmp,
    NetIgmp6,
    NetNetstat,
    NetRoute,
    NetIpv6Route,
    NetSnmp,
    NetSockstat,
    NetSockstat6,
    NetSnmp6,
    NetSoftnet,
    NetTcp,
    NetTcp6,
    NetUdp,
    NetUdp6,
    NetUnix,
}

/// What /proc asks of the process.
pub trait ProcSource: Send + Sync {
    /// Its id.
    fn process_id(&self) -> Pid;

    /// The ids of its threads, ascending.
    fn threads(&self) -> Vec<Tid>;

    /// The thread that asks.
    fn current(&self) -> Tid {
        Tid(self.process_id().0)
    }

    /// Its descriptors.
    fn files(&self) -> Option<Arc<FdTable>>;

    /// Its working directory.
    fn working_directory(&self) -> Option<InodeRef>;

    /// The machine's network interfaces, for /sys.
    fn interfaces(&self) -> Vec<Interface> {
        Vec::new()
    }

    /// The path of its program.
    fn executable(&self) -> String;

    /// The content of a file, of `thread` where that makes a difference; `whole`: of all threads
    /// together where there is such a sum.
    fn content(&self, file: ProcFile, thread: Tid, whole: bool) -> Vec<u8>;

    /// Bytes of the program's memory from address `at` on, for /proc/self/mem: also where the program
    /// itself may not read.
    ///
    /// # Errors
    /// `EIO`: nothing is there. `EFAULT`.
    fn read_memory(&self, _at: u64, _sink: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EIO)
    }

    /// Writes to the program's memory from address `at` on: also where the program itself may only
    /// read, into a copy of its own.
    ///
    /// # Errors
    /// `EIO`: nothing is there, or it is shared and not for writing. `EFAULT`.
    fn write_memory(&self, _at: u64, _source: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::EIO)
    }

    /// The entry of page number `page` in /proc/self/pagemap, without the number of its frame.
    fn page_entry(&self, _page: u64) -> u64 {
        0
    }

    /// A write to a file (comm, oom_score_adj).
    ///
    /// # Errors
    /// `EINVAL`; `EPERM`: not writable here.
    fn write(&self, _file: ProcFile, _thread: Tid, _bytes: &[u8]) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
}

impl Vfs {
    /// Mounts /proc and /sys. The source is held weakly: it owns this tree.
    ///
    /// # Errors
    /// As mount(2).
    pub fn mount_pseudo(self: &Arc<Self>, source: Weak<dyn ProcSource>) -> Result<(), Errno> {
        let proc = PseudoFs {
            name: "proc",
            device: PROC_DEVICE,
            magic: PROC_MAGIC,
            rows: process::ROOT,
            source: source.clone(),
            vfs: Arc::downgrade(self),
        };
        self.mount("/proc", proc.into_root(), "proc", "rw,nosuid,nodev,noexec,relatime")?;
        let sys = PseudoFs {
            name: "sysfs",
            device: SYS_DEVICE,
            magic: SYSFS_MAGIC,
            rows: system::ROOT,
            source,
            vfs: Arc::downgrade(self),
        };
        self.mount("/sys", sys.into_root(), "sysfs", "rw,nosuid,nodev,noexec,relatime")
    }
}

/// A row of a directory.
pub(crate) struct Row {
    name: &'static str,
    entry: Entry,
}

/// What a row is.
#[derive(Clone, Copy)]
pub(crate) enum Entry {
    /// A directory with fixed rows.
    Directory(&'static [Row]),
    /// The directory of one thread's files: the rows of the process's, seen from the thread.
    Thread,
    /// A file that does not change.
    Text(&'static str),
    /// A file that the kernel knows about.
    Kernel(fn(&Vfs) -> String),
    /// A directory with fixed rows, and one directory for each thing of a kind.
    Family(Family, &'static [Row]),
    /// A file about a network interface.
    OfInterface(fn(&Interface) -> Fact),
    /// A file about a processor.
    OfProcessor(fn(u32) -> Fact),
    /// A file that the process knows about.
    Process(ProcFile, u32),
    /// A symbolic link.
    Link(Link),
    /// The program's memory.
    Memory(memory::Kind),
    /// Directory of the descriptors: fd, or fdinfo.
    Descriptors {
        /// fdinfo: files instead of links.
        info: bool,
    },
    /// One descriptor.
    Descriptor {
        /// Its number.
        fd: base::Fd,
        /// fdinfo.
        info: bool,
    },
    /// Directory of the threads.
    Threads,
    /// The root of /proc: fixed rows and the process.
    ProcessRoot(&'static [Row]),
}

/// Symbolic links in /proc.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Always the same.
    Fixed(&'static str),
    /// To no path, but to itself.
    Namespace(&'static str),
    /// /proc/self.
    Own,
    /// /proc/thread-self.
    OwnThread,
    /// The program.
    Executable,
    /// The working directory.
    WorkingDirectory,
    /// The root directory.
    Root,
}

const fn directory(name: &'static str, rows: &'static [Row]) -> Row {
    Row { name, entry: Entry::Directory(rows) }
}

const fn family(name: &'static str, family: Family, rows: &'static [Row]) -> Row {
    Row { name, entry: Entry::Family(family, rows) }
}

const fn text(name: &'static str, text: &'static str) -> Row {
    Row { name, entry: Entry::Text(text) }
}

const fn kernel(name: &'static str, make: fn(&Vfs) -> String) -> Row {
    Row { name, entry: Entry::Kernel(make) }
}

const fn process(name: &'static str, file: ProcFile, permissions: u32) -> Row {
    Row { name, entry: Entry::Process(file, permissions) }
}

const fn link(name: &'static str, link: Link) -> Row {
    Row { name, entry: Entry::Link(link) }
}
