//! eventfd(2): a counter that one can wait for.

use crate::file::File;
use crate::metadata::{FileType, Metadata};
use alloc::string::String;
use alloc::sync::Arc;
use base::Errno;
use base::io::{Sink, Source};
use base::sync::SpinLock;
use core::any::Any;
use sched::{Notifier, PollEvents};

/// The largest value; one more would be refused.
const MAX: u64 = u64::MAX - 1;

/// A counter.
pub struct EventFd {
    number: u64,
    semaphore: bool,
    count: SpinLock<u64>,
    notifier: Notifier,
}

impl EventFd {
    /// A counter at `initial`; with `semaphore` a read takes 1, else all.
    #[must_use]
    pub fn new(initial: u32, semaphore: bool) -> Arc<Self> {
        Arc::new(Self {
            number: crate::anonymous::next_number(),
            semaphore,
            count: SpinLock::new(u64::from(initial)),
            notifier: Notifier::new(),
        })
    }
}

impl File for EventFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(FileType::Regular, 0o600, self.number))
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if sink.room() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = {
            let mut count = self.count.lock();
            if *count == 0 {
                return Err(Errno::EAGAIN);
            }
            let value = if self.semaphore { 1 } else { *count };
            *count -= value;
            value
        };
        self.notifier.notify(PollEvents::OUT);
        sink.put(&value.to_le_bytes())
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        if source.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; 8];
        if source.take(&mut bytes)? < bytes.len() {
            return Err(Errno::EFAULT);
        }
        let value = u64::from_le_bytes(bytes);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        {
            let mut count = self.count.lock();
            if value > MAX - *count {
                return Err(Errno::EAGAIN);
            }
            *count += value;
        }
        self.notifier.notify(PollEvents::IN);
        Ok(bytes.len())
    }

    fn takes_splices(&self) -> bool {
        false
    }

    fn poll(&self) -> PollEvents {
        let count = *self.count.lock();
        let mut events = PollEvents::empty();
        if count > 0 {
            events |= PollEvents::IN;
        }
        if count < MAX {
            events |= PollEvents::OUT;
        }
        events
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.notifier)
    }

    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn describe(&self) -> String {
        String::from("anon_inode:[eventfd]")
    }
}
