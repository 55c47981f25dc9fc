//! O_ASYNC: an owner is told by a signal before the call that made the file ready is over.

use super::program::sure;
use super::reboot::end_of;
use abi::number as nr;
use hal::sim::Script;
use syscalls::process::ExitStatus;

const SIGNAL: u64 = 40;

/// Makes the thread hear of `reader`, and writes to `writer`.
async fn hears(script: &Script, memory: u64, reader: u64, writer: u64) {
    const SETFL: u64 = 4;
    const SETSIG: u64 = 10;
    const SETOWN_EX: u64 = 15;
    let own = sure(script, nr::GETTID, []).await as u32;
    script.store(memory, &[0_u32.to_le_bytes(), own.to_le_bytes()].concat()).await;
    sure(script, nr::FCNTL, [reader, SETOWN_EX, memory]).await;
    sure(script, nr::FCNTL, [reader, SETSIG, SIGNAL]).await;
    sure(script, nr::FCNTL, [reader, SETFL, 0o20_000]).await;
    sure(script, nr::WRITE, [writer, memory, 1]).await;
    sure(script, nr::RT_SIGPENDING, [memory, 8]).await;
    let pending = script.load(memory, 8).await;
    assert_eq!(pending, (1_u64 << (SIGNAL - 1)).to_le_bytes());
    script.store(memory, &(1_u64 << (SIGNAL - 1)).to_le_bytes()).await;
    let signal = sure(script, nr::RT_SIGTIMEDWAIT, [memory, memory + 8, 0, 8]).await;
    let information = script.load(memory + 8, 32).await;
    assert_eq!((signal, u64::from(information[24])), (SIGNAL, reader));
    for fd in [reader, writer] {
        sure(script, nr::CLOSE, [fd]).await;
    }
}

#[test]
fn an_owner_is_told_at_once() {
    let status = end_of(|script| async move {
        let memory = sure(&script, nr::MMAP, [0, 4096, 3, 0x22, u64::MAX, 0]).await;
        script.store(memory, &(1_u64 << (SIGNAL - 1)).to_le_bytes()).await;
        sure(&script, nr::RT_SIGPROCMASK, [0, memory, 0, 8]).await;
        for (number, arguments) in
            [(nr::PIPE2, vec![memory, 0]), (nr::SOCKETPAIR, vec![1, 1, 0, memory])]
        {
            let mut all = [0; 4];
            all[..arguments.len()].copy_from_slice(&arguments);
            sure(&script, number, all).await;
            let pair = script.load(memory, 8).await;
            let fd = |at: usize| u64::from(pair[at]);
            hears(&script, memory, fd(0), fd(4)).await;
        }
        script.syscall(u64::from(nr::EXIT_GROUP), [0; 6]).await;
    });
    assert_eq!(status, ExitStatus::Code(0));
}
