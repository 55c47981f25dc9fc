//! signalfd(2): pending signals, read like a file.

use crate::call::Call;
use crate::pipe;
use crate::process::Process;
use crate::signal::{Origin, SignalInfo, UNBLOCKABLE};
use crate::table::{Row, full};
use crate::trace::Argument::{self, Fd, Flags, Hex, Size};
use abi::number as nr;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use base::Errno;
use base::io::{Sink, Source};
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};
use sched::{Notifier, PollEvents};
use vfs::metadata::{FileType, Metadata};
use vfs::{File, OpenFlags};

const SIGNALFD: Argument = Flags(&[(0o2_000_000, "SFD_CLOEXEC"), (0o4_000, "SFD_NONBLOCK")]);

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::SIGNALFD, "signalfd", &[Fd, Hex, Size], |call| signalfd(call, 0).into()),
    full(nr::SIGNALFD4, "signalfd4", &[Fd, Hex, Size, SIGNALFD], |call| {
        signalfd(call, call.unsigned(3)).into()
    }),
];

fn signalfd(call: &Call<'_>, flags: u32) -> Result<usize, Errno> {
    const SET_BYTES: usize = 8;
    let open_flags = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK;
    if call.size(2) != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let set: u64 = call.memory().read::<u64>(call.address(1))? & !UNBLOCKABLE;
    if flags & !open_flags.bits() != 0 {
        return Err(Errno::EINVAL);
    }
    if call.int(0) == -1 {
        let file = SignalFile::new(call.process(), set);
        return pipe::install(call, file, OpenFlags::from_bits_truncate(flags) | OpenFlags::RDWR);
    }
    let open = call.open_file(0)?;
    let file: &SignalFile = open.usable()?.as_any().downcast_ref().ok_or(Errno::EINVAL)?;
    file.set.store(set, Ordering::Relaxed);
    file.notifier.notify(PollEvents::IN);
    Ok(call.long(0) as usize)
}

/// Signals of whoever reads: those of the process, and the reading thread's own.
struct SignalFile {
    number: u64,
    process: Weak<Process>,
    set: AtomicU64,
    notifier: Arc<Notifier>,
}

impl SignalFile {
    fn new(process: &Arc<Process>, set: u64) -> Arc<Self> {
        Arc::new(Self {
            number: vfs::anonymous::next_number(),
            process: Arc::downgrade(process),
            set: AtomicU64::new(set),
            notifier: Arc::clone(&process.signal_sent),
        })
    }

    fn take(&self) -> Option<SignalInfo> {
        let thread = self.process.upgrade()?.current_thread()?;
        thread.take_signal(self.set.load(Ordering::Relaxed))
    }
}

impl File for SignalFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(FileType::Regular, 0o600, self.number))
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if sink.room() < RECORD_BYTES {
            return Err(Errno::EINVAL);
        }
        let mut count = 0;
        while sink.room() >= RECORD_BYTES {
            let Some(info) = self.take() else { break };
            match sink.put(&record(&info)) {
                Ok(bytes) => count += bytes,
                Err(errno) if count == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        if count == 0 { Err(Errno::EAGAIN) } else { Ok(count) }
    }

    fn write(&self, _offset: u64, _source: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn poll(&self) -> PollEvents {
        let set = self.set.load(Ordering::Relaxed);
        let pending = self.process.upgrade().map_or(0, |process| {
            let own = process.current_thread();
            let own = own.map_or(0, |thread| thread.signals.lock().pending.set());
            own | process.pending.lock().set()
        });
        if pending & set == 0 { PollEvents::empty() } else { PollEvents::IN }
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.notifier)
    }

    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn describe(&self) -> String {
        String::from("anon_inode:[signalfd]")
    }
}

/// `sizeof(struct signalfd_siginfo)`.
const RECORD_BYTES: usize = 128;

/// `struct signalfd_siginfo` (signalfd(2)).
fn record(info: &SignalInfo) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    let mut put = |at: usize, from: &[u8]| {
        if let Some(to) = bytes.get_mut(at..at + from.len()) {
            to.copy_from_slice(from);
        }
    };
    put(0, &u32::from(info.signal.0).to_le_bytes());
    put(8, &info.code.to_le_bytes());
    match info.origin {
        Origin::Process(pid) => put(12, &pid.0.to_le_bytes()),
        Origin::Fault(detail) => put(72, &detail.address.0.to_le_bytes()),
        Origin::Timer { id, overrun, value } => {
            put(24, &id.to_le_bytes());
            put(32, &overrun.to_le_bytes());
            put(44, &value.to_le_bytes()[..4]);
            put(48, &value.to_le_bytes());
        }
        Origin::Raw(raw) => {
            // Sender, user, value.
            put(12, &raw[..4]);
            put(16, &raw[4..8]);
            put(44, &raw[8..12]);
            put(48, &raw[8..16]);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Signal;

    /// Offsets of linux/signalfd.h: ssi_tid 24, ssi_overrun 32, ssi_int 44, ssi_ptr 48.
    #[test]
    fn a_timer_s_record_is_linux_s() {
        let origin = Origin::Timer { id: 7, overrun: 3, value: 0x1_0000_0002 };
        let bytes = record(&SignalInfo { signal: Signal(14), code: -2, origin });
        assert_eq!(bytes[0..4], [14, 0, 0, 0]);
        assert_eq!(bytes[8..12], (-2_i32).to_le_bytes());
        assert_eq!((bytes[24], bytes[32], bytes[44]), (7, 3, 2));
        assert_eq!(bytes[48..56], 0x1_0000_0002_u64.to_le_bytes());
    }
}
