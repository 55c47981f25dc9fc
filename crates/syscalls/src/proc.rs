//! What /proc tells about the process (proc(5)).

use crate::credentials::Credentials;
use crate::information::{BUILD, Limits, RELEASE};
use crate::process::{PROCESS_ID, Process};
use crate::thread::Thread;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::io::{Sink, Source};
use base::{Errno, Instant, Pid, Tid, UserAddr};
use core::fmt::Write;
use core::sync::atomic::Ordering;
use vfs::pseudo::{ProcFile, ProcSource};
use vfs::{FdTable, InodeRef};

/// The process as /proc sees it.
impl ProcSource for Process {
    fn process_id(&self) -> Pid {
        PROCESS_ID
    }

    fn threads(&self) -> Vec<Tid> {
        self.thread_ids()
    }

    fn current(&self) -> Tid {
        self.current_thread().map_or(Tid(PROCESS_ID.0), |thread| thread.tid)
    }

    fn files(&self) -> Option<Arc<FdTable>> {
        Some(Arc::clone(&self.files))
    }

    fn working_directory(&self) -> Option<InodeRef> {
        Some(Arc::clone(&self.directories.lock().working))
    }

    fn executable(&self) -> String {
        self.launch.executable.clone()
    }

    fn content(&self, file: ProcFile, thread: Tid) -> Vec<u8> {
        let text = match file {
            ProcFile::Auxv => return self.launch.auxiliary_vector.clone(),
            ProcFile::Cmdline => return zero_separated(&self.launch.arguments),
            ProcFile::Environ => return zero_separated(&self.launch.environment),
            ProcFile::Comm => format!("{}\n", self.name_of(thread)),
            ProcFile::Io => self.io_of(thread).text(),
            ProcFile::Limits => limits(&self.limits.lock()),
            // Nobody logged in.
            ProcFile::LoginUser => format!("{}", u32::MAX),
            ProcFile::Maps => written(|out| self.memory.maps(out)),
            ProcFile::Smaps => written(|out| self.memory.smaps(out)),
            ProcFile::SmapsRollup => written(|out| self.memory.smaps_rollup(out)),
            ProcFile::OomScoreAdj => String::from("0\n"),
            ProcFile::Stat => self.stat(thread),
            ProcFile::Statm => self.statm(),
            ProcFile::Status => self.status(thread),
            ProcFile::TimerSlack => self.timer_slack_of(thread),
            ProcFile::SystemStat => self.system_stat(),
            ProcFile::FileCount => {
                let most = hal::memory::statistics().total * base::PAGE_SIZE / 1024;
                format!("{}\t0\t{most}\n", self.files.open_count())
            }
            ProcFile::ThreadsMax => format!("{}\n", crate::information::threads_max()),
            ProcFile::KernelVersion => format!("{BUILD}\n"),
            ProcFile::LoadAverage => self.load_average(),
            ProcFile::Version => format!("Linux version {RELEASE} (eggos) #1 SMP\n"),
            ProcFile::Hostname => format!("{}\n", self.machine.hostname),
            ProcFile::OsRelease => format!("{RELEASE}\n"),
            ProcFile::BootId => uuid(self.machine.boot_id),
            ProcFile::Uuid => {
                let mut bytes = [0; 16];
                self.machine.random.fill(&mut bytes);
                uuid(bytes)
            }
            _ => self.machine.network_text(file),
        };
        text.into_bytes()
    }

    fn read_memory(&self, at: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        self.memory.read_forced(UserAddr(at), sink)
    }

    fn write_memory(&self, at: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        self.memory.write_forced(UserAddr(at), source)
    }

    fn page_entry(&self, page: u64) -> u64 {
        /// The page is there; it is a file's, or shared; nobody else has it.
        const PRESENT: u64 = 1 << 63;
        const FILE: u64 = 1 << 61;
        const EXCLUSIVE: u64 = 1 << 56;
        match self.memory.presence(UserAddr(page.wrapping_mul(base::PAGE_SIZE))) {
            None => 0,
            Some(true) => PRESENT | EXCLUSIVE,
            Some(false) => PRESENT | FILE,
        }
    }

    fn write(&self, file: ProcFile, thread: Tid, bytes: &[u8]) -> Result<(), Errno> {
        match (file, self.thread(thread)) {
            (ProcFile::Comm, Some(thread)) => {
                let mut name = [0; 16];
                let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                for (slot, byte) in name.iter_mut().take(15).zip(text) {
                    *slot = *byte;
                }
                *thread.name.lock() = name;
                Ok(())
            }
            (ProcFile::OomScoreAdj, _) => Ok(()),
            (ProcFile::TimerSlack, Some(thread)) => {
                let mut slack = 0_u64;
                for digit in bytes.strip_suffix(b"\n").unwrap_or(bytes) {
                    let digit = u64::from(digit.wrapping_sub(b'0'));
                    let more = slack.checked_mul(10).and_then(|slack| slack.checked_add(digit));
                    slack = more.filter(|_| digit < 10).ok_or(Errno::EINVAL)?;
                }
                thread.settings.lock().set_timer_slack(slack);
                Ok(())
            }
            _ => Err(Errno::EPERM),
        }
    }
}

impl Process {
    fn any_thread(&self, tid: Tid) -> Option<Arc<Thread>> {
        self.thread(tid).or_else(|| self.threads.lock().values().next().cloned())
    }

    /// What a thread read and wrote; the first stands for the process, ended threads included. That is
    /// not what Linux tells of the first in its own directory, which nobody asks for.
    fn io_of(&self, tid: Tid) -> crate::io_counts::Sum {
        if let Some(thread) = self.thread(tid).filter(|_| tid.0 != PROCESS_ID.0) {
            return thread.io.sum();
        }
        let threads: Vec<_> = self.threads.lock().values().cloned().collect();
        threads.iter().fold(*self.ended_io.lock(), |sum, thread| sum + thread.io.sum())
    }

    fn timer_slack_of(&self, tid: Tid) -> String {
        let slack =
            self.any_thread(tid).map(|thread| thread.settings.lock().timer_slack_nanoseconds());
        format!("{}\n", slack.unwrap_or_default())
    }

    /// The thread's name, or what the kernel names it after: the program, cut to 15 bytes.
    fn name_of(&self, tid: Tid) -> String {
        let set = self.any_thread(tid).map(|thread| *thread.name.lock()).unwrap_or_default();
        let end = set.iter().position(|byte| *byte == 0).unwrap_or(set.len());
        if let Some(name) = set.get(..end).filter(|name| !name.is_empty()) {
            return String::from_utf8_lossy(name).into_owned();
        }
        let program = self.launch.executable.rsplit('/').next().unwrap_or_default();
        program.chars().take(15).collect()
    }

    /// Clock ticks (1/100 s) that the process ran.
    fn running_ticks(&self) -> u64 {
        self.running_time(hal::clock::now()).as_nanos() as u64 / 10_000_000
    }

    fn stat(&self, tid: Tid) -> String {
        let memory = self.memory.statistics();
        let started = self.started.nanoseconds() / 10_000_000;
        let threads = self.threads.lock().len();
        let (virtual_bytes, resident) =
            (memory.virtual_bytes, memory.resident_bytes / base::PAGE_SIZE);
        let (name, ticks) = (self.name_of(tid), self.running_ticks());
        format!(
            "{tid} ({name}) R 1 {PROCESS_ID} {PROCESS_ID} 1025 {PROCESS_ID} 4194304 0 0 0 0 \
             {ticks} 0 0 0 20 0 {threads} 0 {started} {virtual_bytes} {resident} \
             18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        )
    }

    fn statm(&self) -> String {
        let memory = self.memory.statistics();
        let pages = |bytes: u64| bytes / base::PAGE_SIZE;
        format!(
            "{} {} 0 {} 0 {} 0\n",
            pages(memory.virtual_bytes),
            pages(memory.resident_bytes),
            pages(memory.text_bytes),
            pages(memory.data_bytes + memory.stack_bytes)
        )
    }

    fn status(&self, tid: Tid) -> String {
        let memory = self.memory.statistics();
        let kib = |bytes: u64| bytes / 1024;
        let who = self.any_thread(tid).map(|thread| thread.credentials.lock().clone());
        let Credentials { user, group, groups, capabilities, no_new_privileges, .. } =
            who.unwrap_or_default();
        let groups: Vec<String> = groups.iter().map(|group| format!("{group}")).collect();
        let groups = groups.join(" ");
        let (mask, pending) = self.any_thread(tid).map_or((0, 0), |thread| {
            let signals = thread.signals.lock();
            (signals.mask, signals.pending.set())
        });
        let (ignored, caught) = self.handled_signals();
        let shared_pending = self.pending.lock().set();
        let threads = self.threads.lock().len();
        let cpus = (1_u64 << self.machine.cpus.min(63)) - 1;
        let mut text = format!("Name:\t{}\nUmask:\t", self.name_of(tid));
        let _ = writeln!(text, "{:04o}", self.umask.load(Ordering::Relaxed));
        let _ = write!(
            text,
            "State:\tR (running)\nTgid:\t{PROCESS_ID}\nNgid:\t0\nPid:\t{tid}\nPPid:\t1\n\
             TracerPid:\t0\nUid:\t{0}\t{1}\t{12}\t{13}\nGid:\t{2}\t{3}\t{14}\t{15}\nFDSize:\t{4}\n\
             Groups:\t{groups} \nVmPeak:\t{5:8} kB\nVmSize:\t{6:8} kB\nVmLck:\t{7:8} kB\n\
             VmHWM:\t{8:8} kB\nVmRSS:\t{8:8} kB\nRssAnon:\t{8:8} kB\nRssFile:\t       0 kB\n\
             RssShmem:\t       0 kB\nVmData:\t{9:8} kB\nVmStk:\t{10:8} kB\nVmExe:\t{11:8} kB\n\
             VmLib:\t       0 kB\nVmSwap:\t       0 kB\nThreads:\t{threads}\nSigQ:\t{16}/{17}\n",
            user.real,
            user.effective,
            group.real,
            group.effective,
            self.files.size(),
            kib(memory.peak_bytes),
            kib(memory.virtual_bytes),
            kib(memory.locked_bytes),
            kib(memory.resident_bytes),
            kib(memory.data_bytes),
            kib(memory.stack_bytes),
            kib(memory.text_bytes),
            user.saved,
            user.files,
            group.saved,
            group.files,
            self.counted_signals(),
            self.limits.lock().signals(),
        );
        let _ = write!(
            text,
            "SigPnd:\t{pending:016x}\nShdPnd:\t{shared_pending:016x}\nSigBlk:\t{mask:016x}\n\
             SigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\nCapInh:\t{:016x}\n\
             CapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\n\
             NoNewPrivs:\t{}\nSeccomp:\t0\nCpus_allowed:\t{cpus:x}\nMems_allowed:\t1\n\
             voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
            capabilities.inheritable,
            capabilities.permitted,
            capabilities.effective,
            capabilities.bounding,
            capabilities.ambient,
            u8::from(no_new_privileges),
        );
        text
    }

    /// Masks of the signals that are ignored and of those that have a handler.
    fn handled_signals(&self) -> (u64, u64) {
        let actions = self.actions.lock();
        let mask = |test: &dyn Fn(u64) -> bool| {
            actions
                .iter()
                .enumerate()
                .filter(|(_, action)| test(action.handler))
                .fold(0, |mask, (at, _)| mask | 1 << at)
        };
        (mask(&|handler| handler == 1), mask(&|handler| handler > 1))
    }

    fn system_stat(&self) -> String {
        let busy = self.running_ticks();
        let up = hal::clock::now().nanoseconds() / 10_000_000 * u64::from(self.machine.cpus);
        let idle = up.saturating_sub(busy);
        let mut text = format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n");
        for cpu in 0..self.machine.cpus {
            let share = u64::from(self.machine.cpus);
            let _ = writeln!(text, "cpu{cpu} {} 0 0 {} 0 0 0 0 0 0", busy / share, idle / share);
        }
        let booted = hal::clock::wall(Instant::ZERO).seconds();
        // With the thread that asks.
        let running = self.machine.spawner.active() + 1;
        let _ = write!(
            text,
            "intr 0\nctxt 0\nbtime {booted}\nprocesses 1\nprocs_running {running}\n\
             procs_blocked 0\n"
        );
        text
    }

    fn load_average(&self) -> String {
        let mut text = String::new();
        for average in self.machine.load.hundredths() {
            let _ = write!(text, "{}.{:02} ", average / 100, average % 100);
        }
        // With the thread that asks.
        let running = self.machine.spawner.active() + 1;
        let threads = self.threads.lock().len();
        let _ = writeln!(text, "{running}/{threads} {PROCESS_ID}");
        text
    }
}

fn zero_separated(texts: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

fn written(write: impl FnOnce(&mut dyn Write) -> core::fmt::Result) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text);
    text
}

/// A version 4 UUID of these bytes (RFC 9562).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

/// The rows of /proc/self/limits: name and unit, by resource number.
const LIMIT_NAMES: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

fn limits(limits: &Limits) -> String {
    let mut text =
        format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let value = |value: u64| match value {
        u64::MAX => String::from("unlimited"),
        value => format!("{value}"),
    };
    for ((name, unit), limit) in LIMIT_NAMES.iter().zip(limits.0) {
        let (soft, hard) = (value(limit.soft), value(limit.hard));
        let _ = writeln!(text, "{name:<25} {soft:<20} {hard:<20} {unit:<10}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_say_that_they_are_random_ones() {
        let text = uuid([0xff; 16]);
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff\n");
    }
}
