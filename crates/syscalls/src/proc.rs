//! What /proc tells about the process (proc(5)).

use crate::accounting::{Counter, CpuTime};
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

/// Nanoseconds of a clock tick (1/100 s), in which /proc counts.
const TICK_NANOSECONDS: u64 = 10_000_000;

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

    fn interfaces(&self) -> Vec<vfs::Interface> {
        crate::socket_proc::interfaces(self.machine.network())
    }

    fn executable(&self) -> String {
        self.launch.executable.clone()
    }

    fn content(&self, file: ProcFile, thread: Tid, whole: bool) -> Vec<u8> {
        let text = match file {
            ProcFile::Auxv => return self.launch.auxiliary_vector.clone(),
            ProcFile::Cmdline => return zero_separated(&self.launch.arguments),
            ProcFile::Environ => return zero_separated(&self.launch.environment),
            ProcFile::Comm => format!("{}\n", self.name_of(thread)),
            ProcFile::Io => self.io_of(thread, whole).text(),
            ProcFile::Limits => limits(&self.limits.lock()),
            // Nobody logged in.
            ProcFile::LoginUser => format!("{}", u32::MAX),
            ProcFile::Maps => written(|out| self.memory.maps(out)),
            ProcFile::Smaps => written(|out| self.memory.smaps(out)),
            ProcFile::SmapsRollup => written(|out| self.memory.smaps_rollup(out)),
            ProcFile::OomScoreAdj => String::from("0\n"),
            ProcFile::Stat => self.stat(thread, whole),
            ProcFile::SchedStat => self.sched_stat(thread),
            ProcFile::Statm => self.statm(),
            ProcFile::Status => self.status(thread),
            ProcFile::TimerSlack => self.timer_slack_of(thread),
            ProcFile::SystemStat => self.system_stat(),
            ProcFile::SystemSchedStat => self.system_sched_stat(),
            ProcFile::Uptime => self.uptime(),
            ProcFile::VmStat => self.vm_stat(),
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

    /// What a thread read and wrote, or all of them, ended ones included.
    fn io_of(&self, tid: Tid, whole: bool) -> crate::io_counts::Sum {
        if let Some(thread) = self.thread(tid).filter(|_| !whole) {
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

    /// R or S, and what goes with it in status.
    fn state_of(&self, tid: Tid) -> &'static str {
        let sleeps =
            |thread: Arc<Thread>| !thread.running.is_running() && !thread.usage.waits_for_turn();
        if self.any_thread(tid).is_some_and(sleeps) { "S (sleeping)" } else { "R (running)" }
    }

    fn stat(&self, tid: Tid, whole: bool) -> String {
        let memory = self.memory.statistics();
        let started = self.started.nanoseconds() / TICK_NANOSECONDS;
        let threads = self.threads.lock().len();
        let (virtual_bytes, resident) =
            (memory.virtual_bytes, memory.resident_bytes / base::PAGE_SIZE);
        let (name, state) = (self.name_of(tid), &self.state_of(tid)[..1]);
        let (counts, times) = self.usage(self.thread(tid).filter(|_| !whole).as_deref());
        let nice = self.any_thread(tid).map_or(0, |thread| thread.settings.lock().nice);
        let resident_limit = self.limits.lock().resident();
        format!(
            "{tid} ({name}) {state} 1 {PROCESS_ID} {PROCESS_ID} 1025 {PROCESS_ID} 4194304 {} 0 0 0 \
             {} {} 0 0 {} {nice} {threads} 0 {started} {virtual_bytes} {resident} \
             {resident_limit} 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            counts.get(Counter::Faults),
            times.user / TICK_NANOSECONDS,
            times.system / TICK_NANOSECONDS,
            20 + nice,
        )
    }

    /// Time on a CPU, time of waiting for others who had it, turns. Of a thread that was woken it is
    /// not known how long it waited.
    fn sched_stat(&self, tid: Tid) -> String {
        let Some(thread) = self.any_thread(tid) else { return String::new() };
        let counts = thread.counts(hal::clock::now());
        let [ran, waited] = [Counter::Ran, Counter::Waited].map(|counter| counts.get(counter));
        format!("{ran} {waited} {}\n", counts.turns())
    }

    /// Of each CPU how often it chose what to run and found nothing, how long it ran, how long threads
    /// waited for it, and their turns. The rest is of schedulers of old.
    fn system_sched_stat(&self) -> String {
        let now = hal::clock::now();
        let mut text = format!("version 15\ntimestamp {}\n", now.nanoseconds() / TICK_NANOSECONDS);
        for (at, cpu) in self.machine.cpu_times.iter().enumerate() {
            let (turns, idles, waited) = (cpu.turns(), cpu.idles(), cpu.waited());
            let ran = now.nanoseconds().saturating_sub(cpu.times(now).1);
            let chosen = turns + idles;
            let _ = writeln!(text, "cpu{at} 0 0 {chosen} {idles} 0 0 {ran} {waited} {turns}");
        }
        text
    }

    /// Up since, and the idle time of all CPUs.
    fn uptime(&self) -> String {
        let now = hal::clock::now();
        let idle: u64 = self.machine.cpu_times.iter().map(|cpu| cpu.times(now).1).sum();
        let mut text = String::new();
        for (time, end) in [(now.nanoseconds(), ' '), (idle, '\n')] {
            let hundredths = time / TICK_NANOSECONDS;
            let _ = write!(text, "{}.{:02}{end}", hundredths / 100, hundredths % 100);
        }
        text
    }

    fn vm_stat(&self) -> String {
        let free = hal::memory::statistics().free;
        let faults = self.counts(hal::clock::now()).get(Counter::Faults);
        format!("nr_free_pages {free}\npgfault {faults}\npgmajfault 0\n")
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
        let who = self.any_thread(tid).map(|thread| thread.identity.get(Clone::clone));
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
        let state = self.state_of(tid);
        let counts = self.any_thread(tid).map(|thread| thread.counts(hal::clock::now()));
        let counts = counts.unwrap_or_default();
        let mut text = format!("Name:\t{}\nUmask:\t", self.name_of(tid));
        let _ = writeln!(text, "{:04o}", self.umask.load(Ordering::Relaxed));
        let _ = write!(
            text,
            "State:\t{state}\nTgid:\t{PROCESS_ID}\nNgid:\t0\nPid:\t{tid}\nPPid:\t1\n\
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
             voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
            capabilities.inheritable,
            capabilities.permitted,
            capabilities.effective,
            capabilities.bounding,
            capabilities.ambient,
            u8::from(no_new_privileges),
            counts.voluntary(),
            counts.get(Counter::Involuntary),
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
        let now = hal::clock::now();
        let cpus = &self.machine.cpu_times;
        let mut rows = alloc::vec![[0; 3]];
        for cpu in cpus {
            let (times, idle) = cpu.times(now);
            let row = [times.user, times.system, idle];
            for (sum, time) in rows[0].iter_mut().zip(row) {
                *sum += time;
            }
            rows.push(row);
        }
        let mut text = String::new();
        for (at, row) in rows.iter().enumerate() {
            let _ = match at.checked_sub(1) {
                None => write!(text, "cpu "),
                Some(cpu) => write!(text, "cpu{cpu}"),
            };
            let [user, system, idle] = row.map(|time| time / TICK_NANOSECONDS);
            let _ = writeln!(text, " {user} 0 {system} {idle} 0 0 0 0 0 0");
        }
        let counts = self.counts(now);
        let idles: u64 = cpus.iter().map(CpuTime::idles).sum();
        let switches = counts.voluntary() + counts.get(Counter::Involuntary) + idles;
        let booted = hal::clock::wall(Instant::ZERO).seconds();
        // With the thread that asks.
        let running = self.machine.spawner.active() + 1;
        let _ = write!(
            text,
            "intr 0\nctxt {switches}\nbtime {booted}\nprocesses 1\nprocs_running {running}\n\
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
